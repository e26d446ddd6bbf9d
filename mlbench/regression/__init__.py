"""Regression: comparison of two sets of records, with verdicts that take noise into account."""
