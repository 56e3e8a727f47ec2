"""Sinks: alerts brought to those who read them, from the alerts' topic."""
