"""Evaluation: every pair of embeddings compared, thresholds fitted, metrics with intervals."""
