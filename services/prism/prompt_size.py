"""How large a request is, estimated without a tokenizer: the router must know it before any engine has seen the text."""

import msgspec

from services.prism.output_lengths import TYPICAL, Lengths
from shared.api import AnyRequest, ChatRequest

BYTES_PER_TOKEN = 4
"""UTF-8 bytes to a token, about right for English prose and for scripts of three bytes a character."""
TEMPLATE_TOKENS_PER_MESSAGE = 5
"""What a chat template puts around a message: its markers, its role, line ends."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants of an engine, in tokens."""

    prompt_tokens: int
    output_tokens: int
    """Expected."""
    most_output_tokens: int | None = None
    """The limit that the request set; None: as many as the context leaves."""


def ask_of(request: AnyRequest, lengths: Lengths = TYPICAL) -> Ask:
    """The size of a decoded request, whose answer is as long as such answers are unless it goes on to its limit."""
    limit = request.output_limit
    return Ask(
        prompt_tokens=_prompt_tokens(request),
        output_tokens=expected_tokens(limit, lengths, ignore_eos=request.ignore_eos),
        most_output_tokens=limit,
    )


def expected_tokens(limit: int | None, lengths: Lengths, *, ignore_eos: bool) -> int:
    """How long an answer will be that may have as many tokens as its limit, and where it ignores its end has them."""
    if ignore_eos and limit is not None:
        return limit
    return max(round(lengths.expected(limit)), 1)


def _prompt_tokens(request: AnyRequest) -> int:
    if isinstance(request, ChatRequest):
        text_tokens = sum(_text_tokens(message.text) for message in request.messages)
        return text_tokens + TEMPLATE_TOKENS_PER_MESSAGE * (len(request.messages) + 1)
    prompt = request.single_prompt
    return _text_tokens(prompt) if isinstance(prompt, str) else len(prompt)


def _text_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
