"""Deployment: a case's model as a file that is checked, and the use of such a file."""
