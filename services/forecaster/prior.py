"""What is known of an engine before its first step: the proportions of a step's terms, whatever the hardware.

All in units of the time to read the weights once, so that one prior serves a fast and a slow engine; the first steps say
how long that unit is. Compute of one token then costs 1 ÷ (FLOP/s ÷ bytes/s) for 16-bit weights: by the data sheets
156 (A100), 200 (A6000), 208 (A10), 295 (H100, whatever the precision), less as matrix kernels reach about 70 % of the
one and weight streaming 85 % of the other: about 160 tokens. A token in the cache costs its bytes over those of the
weights: 2e-6 (70B with grouped heads), 8e-6 (8B with grouped heads), more without grouping. Attention work costs
4·layers·width FLOP a token² against 2·parameters a token: 3e-5 tokens, at a lower efficiency.
"""

import numpy as np
from numpy.typing import NDArray

from shared.steptime import FEATURES, MIXED, TILE_TOKENS

BALANCE_TOKENS = 160
"""So many tokens take as long to compute as the weights to read."""

_PER_TOKEN = 1 / BALANCE_TOKENS
_MEAN_AND_DEVIATION: dict[str, tuple[float, float]] = {
    "base": (1.0, 0.2),
    # Launches and sampling; with decodes alone not to be told from tokens, whose compute the reading of weights hides.
    "per_sequence": (0.002, 0.01),
    "per_padded_sequence": (0.002, 0.003),
    # A token's compute, told apart into what shows at once, beyond the first knee, and by whole tiles.
    "per_token": (0.45 * _PER_TOKEN, 0.45 * _PER_TOKEN),
    "per_token_beyond_64": (0.35 * _PER_TOKEN, 0.35 * _PER_TOKEN),
    "per_token_beyond_256": (0.02 * _PER_TOKEN, 0.3 * _PER_TOKEN),
    "per_token_beyond_512": (0.02 * _PER_TOKEN, 0.3 * _PER_TOKEN),
    "per_tile": (0.2 * _PER_TOKEN * TILE_TOKENS, 0.2 * _PER_TOKEN * TILE_TOKENS),
    "per_kv_token": (5e-6, 3.5e-6),
    "per_attention_work": (2e-7, 2e-7),
    # Launches that no graph holds together: a fraction of the step.
    "mixed": (0.15, 0.2),
    "per_prefill": (0.0125, 0.0125),
    "mixed_per_kv_token": (1e-6, 3e-6),
    "mixed_per_sequence": (0.0015, 0.006),
}
_ELSE = (0.003, 0.015)
"""Of each place where a graph or a kernel changes."""

PROPORTIONS: NDArray[np.float64] = np.array([_MEAN_AND_DEVIATION.get(name, _ELSE)[0] for name in FEATURES])
"""Expected coefficient of each feature, in units of the base."""
_DEVIATIONS: NDArray[np.float64] = np.array([_MEAN_AND_DEVIATION.get(name, _ELSE)[1] for name in FEATURES])
_SCALE_DEVIATION = 3.0
"""Of all together, as a fraction: one step says little of how long the unit is."""


def mixed_columns(unit_s: float, noise: float) -> NDArray[np.float64]:
    """The prior's doubt about the features of mixed steps alone; shape (d, 4), in units of a relative noise."""
    columns: NDArray[np.float64] = (unit_s / noise * np.diag(_DEVIATIONS))[:, -len(MIXED) :]
    return columns


def prior_root(unit_s: float, noise: float) -> NDArray[np.float64]:
    """A root of the prior covariance, in units of a relative noise; shape (d, d), lower triangular.

    Each coefficient deviates by its share, and all together by the scale.
    """
    scale = _SCALE_DEVIATION * PROPORTIONS
    covariance = np.diag(np.square(_DEVIATIONS)) + np.multiply.outer(scale, scale)
    return unit_s / noise * np.linalg.cholesky(covariance)
