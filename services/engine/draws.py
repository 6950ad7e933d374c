"""Which number draw *i* of a sequence is: a function of (seed, *i*) and never of what was drawn before."""

_WORD = 2**64


def draw_number(seed: int, draw: int) -> int:
    """32 bits for one draw: the upper half of SplitMix64's output number `draw` for `seed`."""
    x = (seed + (draw + 1) * 0x9E3779B97F4A7C15) % _WORD
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % _WORD
    return (x ^ (x >> 31)) >> 32
