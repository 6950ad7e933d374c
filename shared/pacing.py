"""By when the tokens of an answer are due: a request's targets, divided among them as both layers reckon. Pure.

A TTFT target says when the first is due, and a TPOT target how soon each of the others. An E2E target says neither: the answer is
reckoned to come at a pace at which engines batch well, what is left of the time may pass before it begins, and once it has begun,
however early or late, it is paced so that it ends in time.
"""

import math

from shared.slo import Slo

REFERENCE_TTFT_S = 10.0
REFERENCE_TPOT_S = 0.2
"""Stand for targets that a request lacks, so that it is served in its turn; lax beside what interactive use promises."""
PACED_AT = 0.98
"""Of its TPOT target: what a step takes longer than foreseen would else make an answer miss by a hair that has no credit left."""
USUAL_TPOT_S = 0.05
"""The pace that an answer with an E2E target is reckoned to come at."""
LEAST_FIRST_SHARE = 0.2
"""Of an E2E target may in any case go before the first token, however long the answer."""
LIKELY_OUTPUT_TOKENS = 512
"""An answer that may be longer is paced by its E2E target as if it were no longer: a limit is no length."""


def first_due_s(slo: Slo, most_output_tokens: int | None) -> float:
    """From its arrival on, by when a request's first token is due.

    Args:
        most_output_tokens: its limit; None: the context's.
    """
    by_ttft_s = math.inf if slo.ttft_s is None else slo.ttft_s
    if slo.e2e_s is None:
        return by_ttft_s if slo.ttft_s is not None else REFERENCE_TTFT_S
    answer_s = _others(most_output_tokens) * min(slo.tpot_s or USUAL_TPOT_S, USUAL_TPOT_S)
    return min(by_ttft_s, max(slo.e2e_s - answer_s, LEAST_FIRST_SHARE * slo.e2e_s))


def pace_s(slo: Slo, most_output_tokens: int | None, first_token_s: float) -> float:
    """What an answer is paced at whose first token came so long after its arrival: a little less than its targets leave."""
    by_tpot_s = math.inf if slo.tpot_s is None else slo.tpot_s
    if slo.e2e_s is not None:
        left_s = max(slo.e2e_s - first_token_s, 0.0)
        return PACED_AT * min(by_tpot_s, left_s / max(_others(most_output_tokens), 1))
    return PACED_AT * (by_tpot_s if slo.tpot_s is not None else REFERENCE_TPOT_S)


def _others(most_output_tokens: int | None) -> int:
    """The tokens likely to come behind the first."""
    return min(most_output_tokens or LIKELY_OUTPUT_TOKENS, LIKELY_OUTPUT_TOKENS) - 1
