"""Tests of stillwatch."""
