"""How probable it is that a request keeps its targets, and what predictions are corrected by. Pure.

Compiled, for one engine; `foresee` asks for each.
"""

import math
from typing import NamedTuple

from services.prism.compiled import compiled

TTFT_DEVIATION = 0.2
"""Of a time to first token, relative: what comes before it and is not there yet."""
TPOT_DEVIATION = 0.1
TELLING_DEVIATION = 0.3
"""Errors that scatter by so much say half, as a logarithm, of what their mean says: it comes of a few bursts, and the next request
is not in one."""


class Targets(NamedTuple):
    """Of a request; infinite where nothing is promised."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


@compiled
def told(factor: float, deviation: float) -> float:
    """What to correct by where actual times are `factor` times the predicted, with that deviation: the less they scatter, the more of it."""
    return float(factor ** (1.0 / (1.0 + (deviation / TELLING_DEVIATION) ** 2)))


@compiled
def p_met(
    targets: Targets,
    output_tokens: float,
    ttft_s: float,
    answer_s: float,
    alone_s: float,
    unseen_s: float,
    deviation: float,
) -> float:
    """That all targets are kept. Lens lengthens no step beyond what TPOT and E2E targets allow: answers alone break them.

    Args:
        answer_s: what its other tokens take at least.
        alone_s: a step of answers alone.
        unseen_s: by so much a first token is off, since the state is old.
        deviation: of a time to first token, relative.
    """
    off_s = math.hypot(deviation * ttft_s, unseen_s)
    chance = 1.0
    if targets.ttft_s < math.inf:
        chance *= normal((targets.ttft_s - ttft_s) / off_s)
    if targets.tpot_s < math.inf and output_tokens > 1:
        chance *= normal(math.log(targets.tpot_s / alone_s) / TPOT_DEVIATION)
    if targets.e2e_s < math.inf:
        chance *= normal((targets.e2e_s - ttft_s - answer_s) / math.hypot(off_s, TPOT_DEVIATION * answer_s))
    return chance


@compiled
def normal(deviates: float) -> float:
    """The normal distribution function, as Bowling et al. 2009 approximate it by a logistic one, to within 0.0002."""
    power = deviates * (1.5976 + 0.07056 * deviates * deviates)
    return 1.0 / (1.0 + math.exp(-min(max(power, -50.0), 50.0)))
