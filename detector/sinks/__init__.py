"""Alerts in the words of others: pure conversions, one file for each format or receiver."""
