"""How large a request is, estimated without a tokenizer: the router must know it before any engine has seen the text."""

import msgspec

from shared.api import AnyRequest, ChatRequest

BYTES_PER_TOKEN = 4
"""UTF-8 bytes to a token, about right for English prose and for scripts of three bytes a character."""
TEMPLATE_TOKENS_PER_MESSAGE = 5
"""What a chat template puts around a message: its markers, its role, line ends."""
TYPICAL_OUTPUT_TOKENS = 200
"""Where a request does not end at its limit: answers of chats are 130 to 430 tokens long at the median and 0.9 quantile."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants of an engine, in tokens."""

    prompt_tokens: int
    output_tokens: int
    """Expected."""
    most_output_tokens: int | None = None
    """The limit that the request set; None: as many as the context leaves."""


def ask_of(request: AnyRequest) -> Ask:
    """The size of a decoded request."""
    prompt_tokens = _prompt_tokens(request)
    if request.output_limit is None:
        return Ask(prompt_tokens=prompt_tokens, output_tokens=TYPICAL_OUTPUT_TOKENS)
    limit = request.output_limit
    expected = limit if request.ignore_eos else min(limit, TYPICAL_OUTPUT_TOKENS)
    return Ask(prompt_tokens=prompt_tokens, output_tokens=expected, most_output_tokens=limit)


def _prompt_tokens(request: AnyRequest) -> int:
    if isinstance(request, ChatRequest):
        text_tokens = sum(_text_tokens(message.text) for message in request.messages)
        return text_tokens + TEMPLATE_TOKENS_PER_MESSAGE * (len(request.messages) + 1)
    prompt = request.single_prompt
    return _text_tokens(prompt) if isinstance(prompt, str) else len(prompt)


def _text_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
