"""Whether a request can be run here at all, and with which limits; said before it waits. And what a refusal says."""

from collections.abc import Callable

from services.lens.budget import prefill_budget_tokens
from services.lens.load import Load
from services.lens.plan import PlanLimits
from shared.errors import BadRequest, NotFound, Overloaded, Unavailable
from shared.step import EngineInfo
from shared.steptime import StepModel, StepShape

LEAST_QUEUE_WAIT_S = 0.1
MOST_QUEUE_WAIT_S = 30.0
"""No client is told to come back sooner, or later: a queue that empties may take in others first, and a model may err."""
ELSEWHERE_AFTER_S = 1.0
"""When to come back where this server cannot know: it is leaving, or its engine is away."""


def check_model(requested: str, served: str) -> None:
    """Raises NotFound where another model is asked for."""
    if requested != served:
        message = f"the model {requested!r} does not exist here; there is {served!r}"
        raise NotFound(message, param="model", code="model_not_found")


def check_queue(
    waiting_requests: int, max_waiting: int, wait_s: Callable[[], float] = lambda: LEAST_QUEUE_WAIT_S
) -> None:
    """Raises Overloaded where the queue is full.

    Args:
        wait_s: when there may be room; asked only where there is none.
    """
    if waiting_requests >= max_waiting:
        message = f"the queue is full: {waiting_requests} requests are waiting, and at most {max_waiting} may"
        raise Overloaded(message, code="queue_full", retry_after_s=wait_s())


def queue_wait_s(load: Load, model: StepModel, limits: PlanLimits) -> float:
    """How long the engine takes to compute the prompts that wait, in steps as large as the target lets them be beside
    the answers that run; within bounds."""
    decodes = StepShape(load.decode_seqs, load.decode_seqs, load.kv_tokens)
    chunk_tokens = prefill_budget_tokens(
        model,
        decodes,
        target_s=limits.target_s,
        most_tokens=min(load.waiting_prefill_tokens, limits.max_step_tokens - load.decode_seqs),
        least_tokens=limits.least_prefill_tokens,
        cached_tokens=0,
    )
    if not chunk_tokens:
        return LEAST_QUEUE_WAIT_S
    step_s = float(model.step_time_s(decodes.with_chunk(chunk_tokens, 0)))
    wait_s = load.waiting_prefill_tokens / chunk_tokens * step_s
    return min(max(wait_s, LEAST_QUEUE_WAIT_S), MOST_QUEUE_WAIT_S)


def draining() -> Unavailable:
    """What is said by a server that takes nothing new."""
    message = "this server is leaving and takes no new requests"
    return Unavailable(message, code="draining", retry_after_s=ELSEWHERE_AFTER_S)


def engine_away() -> Unavailable:
    """What is said to those whose answer has not begun."""
    return Unavailable("the engine of this server is away", code="engine_away", retry_after_s=ELSEWHERE_AFTER_S)


def check_length(least_tokens: int, info: EngineInfo, param: str) -> None:
    """Raises BadRequest where a prompt of at least so many tokens cannot fit."""
    most_tokens = _context_tokens(info)
    if least_tokens >= most_tokens:
        message = f"{param} is over {least_tokens} tokens long; the context holds {most_tokens} with the answer"
        raise BadRequest(message, param=param, code="context_length_exceeded")


def _context_tokens(info: EngineInfo) -> int:
    return min(info.max_context_tokens, info.kv_blocks_total * info.kv_block_tokens)


def output_limit_tokens(prompt_ids: tuple[int, ...], requested: int | None, info: EngineInfo, param: str) -> int:
    """The most tokens to generate behind this prompt: what was asked for, or what the context leaves.

    Raises:
        BadRequest: the prompt is empty, has a token the model lacks, or does not fit with the tokens asked for.
    """
    most_tokens = _context_tokens(info)
    room_tokens = most_tokens - len(prompt_ids)
    if not prompt_ids:
        raise BadRequest(f"{param} must not be empty", param=param)
    if min(prompt_ids) < 0 or max(prompt_ids) >= info.vocab_size:
        raise BadRequest(f"{param} has a token outside 0…{info.vocab_size - 1}", param=param)
    if room_tokens < 1:
        message = f"{param} is {len(prompt_ids)} tokens long; the context holds {most_tokens} with the answer"
        raise BadRequest(message, param=param, code="context_length_exceeded")
    if requested is not None and requested > room_tokens:
        message = f"max_tokens {requested} does not fit: the context holds {most_tokens} tokens and {param} takes {len(prompt_ids)}"
        raise BadRequest(message, param="max_tokens", code="context_length_exceeded")
    return room_tokens if requested is None else requested
