"""The commands of `python -m loadgen`, one a module."""
