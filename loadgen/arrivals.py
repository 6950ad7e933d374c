"""When requests arrive, whatever the system under load is doing: seconds from the start of a run. Pure."""

import numpy as np


def poisson_arrivals(rate_per_s: float, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Instants with exponential gaps of mean 1/`rate_per_s`; the first one comes after such a gap too."""
    return tuple(np.cumsum(rng.exponential(1 / rate_per_s, count)).tolist())
