"""Whether a request can be run here at all, and with which limits; said before it waits."""

from shared.errors import BadRequest, NotFound, Overloaded
from shared.step import EngineInfo


def check_model(requested: str, served: str) -> None:
    """Raises NotFound where another model is asked for."""
    if requested != served:
        message = f"the model {requested!r} does not exist here; there is {served!r}"
        raise NotFound(message, param="model", code="model_not_found")


def check_queue(waiting_requests: int, max_waiting: int) -> None:
    """Raises Overloaded where the queue is full."""
    if waiting_requests >= max_waiting:
        raise Overloaded(f"{waiting_requests} requests are waiting already", headers={"retry-after": "1"})


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
