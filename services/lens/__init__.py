"""LENS: the batching frontend of one engine."""
