"""Types of command-line arguments: numbers within bounds. Each raises ValueError where the text is none."""

import math


def whole(text: str) -> int:
    """0, 1, 2 …"""
    return int(not_negative(str(int(text))))


def not_negative(text: str) -> float:
    """Finite, and 0 at least."""
    if not 0 <= (number := float(text)) < math.inf:
        raise ValueError(text)
    return number


def positive_int(text: str) -> int:
    """1, 2, 3 …"""
    return int(positive_float(str(int(text))))


def share(text: str) -> float:
    """Above 0, and 1 at most."""
    if (number := positive_float(text)) > 1:
        raise ValueError(text)
    return number


def positive_float(text: str) -> float:
    """Finite, and above 0."""
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError(text)
    return number
