"""Claims of a suite, judged by the records of a run."""
