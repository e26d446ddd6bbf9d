"""Histories of suites over many runs and revisions, and pages about two sets of records."""
