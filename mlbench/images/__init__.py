"""Images: files found, decoded, and made square."""
