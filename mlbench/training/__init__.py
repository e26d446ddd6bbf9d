"""Training: a case's model, what feeds it, and the loop."""
