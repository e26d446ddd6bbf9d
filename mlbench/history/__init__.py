"""Histories of suites over many runs and revisions."""
