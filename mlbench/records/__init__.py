"""Records: what was learned from each case, kept, shown, and handed on to pytest-benchmark."""
