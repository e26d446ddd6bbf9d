"""Rendered documents that bear text: cards, labels, signs and papers, drawn from a seed alone."""
