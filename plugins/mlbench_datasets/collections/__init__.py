"""Published data sets by name: how their files are got, read in place, and divided as the literature does."""
