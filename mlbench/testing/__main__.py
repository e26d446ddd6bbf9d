"""`python -m mlbench.testing` prints a suite with a case for every installed component."""

import sys

from mlbench.plugins import environment_choice, load_plugins
from mlbench.registry import Registry
from mlbench.testing.catalogue import catalogue_suite

block, only = environment_choice()
sys.stdout.write(catalogue_suite(Registry(load_plugins(block=block, only=only))))
