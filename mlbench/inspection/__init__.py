"""Inspection of images: copies, near duplicates, classes, sizes and damaged files."""
