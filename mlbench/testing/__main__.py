"""`python -m mlbench.testing [NAME]`."""

from mlbench.testing.command import main

main(prog_name="python -m mlbench.testing")
