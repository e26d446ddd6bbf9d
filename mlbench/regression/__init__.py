"""Regression: what changed between two sets of records, and whether it is more than noise."""
