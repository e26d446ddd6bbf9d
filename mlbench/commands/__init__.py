"""Commands: what the command line does and shows beside running suites."""
