"""Evaluation of embeddings: similarities of all pairs, thresholds, metrics and their intervals."""
