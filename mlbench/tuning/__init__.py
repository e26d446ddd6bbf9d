"""Tuning: settings of a case are varied, and the trial with the best calibration score is chosen."""
