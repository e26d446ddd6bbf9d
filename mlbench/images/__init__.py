"""Image files: search, decoding and preprocessing."""
