"""Experiments whose results are published."""
