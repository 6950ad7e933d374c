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
USUAL_TPOT_S = 0.08
"""The pace that an answer with an E2E target is reckoned to come at, if its TPOT target is no tighter. Steps of this length spend most of
their time on prompts where reading the weights of a large model takes a third of it; first tokens that were due later would leave answers
a tighter pace, and so prompts less of every step."""
LEAST_FIRST_SHARE = 0.2
"""Of an E2E target may in any case go before the first token, however long the answer."""
LIKELY_OUTPUT_TOKENS = 512
"""An answer that may be longer is paced by its E2E target as if it were no longer: a limit is no length."""


def likely_tokens(most_output_tokens: int | None, *, ignores_end: bool = False) -> int:
    """How long an answer is reckoned to be.

    Args:
        most_output_tokens: its limit; None: the context's.
        ignores_end: whether it goes on to its limit.
    """
    if most_output_tokens is None:
        return LIKELY_OUTPUT_TOKENS
    return most_output_tokens if ignores_end else min(most_output_tokens, LIKELY_OUTPUT_TOKENS)


def first_due_s(slo: Slo, output_tokens: int) -> float:
    """From its arrival on, by when the first token of an answer likely to have so many is due."""
    by_ttft_s = math.inf if slo.ttft_s is None else slo.ttft_s
    if slo.e2e_s is None:
        return REFERENCE_TTFT_S if slo.ttft_s is None else by_ttft_s
    others_s = (output_tokens - 1) * min(slo.tpot_s or USUAL_TPOT_S, USUAL_TPOT_S)
    return min(by_ttft_s, max(slo.e2e_s - others_s, LEAST_FIRST_SHARE * slo.e2e_s))


def pace_s(slo: Slo, output_tokens: int, first_token_s: float) -> float:
    """What an answer likely to have so many tokens is paced at, a little faster than its targets demand.

    Args:
        first_token_s: when the first comes, from the arrival on.
    """
    if slo.e2e_s is None or output_tokens <= 1:
        return PACED_AT * (slo.tpot_s or REFERENCE_TPOT_S)
    by_e2e_s = max(slo.e2e_s - first_token_s, 0.0) / (output_tokens - 1)
    return PACED_AT * min(slo.tpot_s or math.inf, by_e2e_s)
