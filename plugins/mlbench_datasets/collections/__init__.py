"""Published data sets by name: where their files come from, how to read them, and the splits that papers
use."""
