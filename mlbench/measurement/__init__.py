"""Measurement: speed, memory and sizes, in a process of its own."""
