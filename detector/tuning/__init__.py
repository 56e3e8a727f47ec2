"""Tuning: ground truth, scores and calibration. May read clocks and files; the engine never imports it."""
