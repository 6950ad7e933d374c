"""Types of command-line arguments: numbers within bounds. Each raises ValueError where the text is none."""

import math


def whole(text: str) -> int:
    """0, 1, 2 …"""
    if (number := int(text)) < 0:
        raise ValueError(text)
    return number


def not_negative(text: str) -> float:
    """Finite, and 0 at least."""
    if not 0 <= (number := float(text)) < math.inf:
        raise ValueError(text)
    return number


def positive_int(text: str) -> int:
    """1, 2, 3 …"""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def share(text: str) -> float:
    """Above 0, and 1 at most."""
    if (number := positive_float(text)) > 1:
        raise ValueError(text)
    return number


def spread(text: str) -> float:
    """A coefficient of variation that arrivals can be drawn with: 0.001 at least, and 1,000 at most."""
    if not 1e-3 <= (number := float(text)) <= 1e3:
        raise ValueError(text)
    return number


def positive_float(text: str) -> float:
    """Finite, and above 0."""
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError(text)
    return number
