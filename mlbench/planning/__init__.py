"""Planning: from a suite file to its cases, checked and fingerprinted, before anything is built."""
