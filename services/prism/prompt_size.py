"""How large a request is, estimated without a tokenizer: the router must know it before any engine has seen the text."""

import msgspec

from services.prism.output_lengths import TYPICAL, Lengths
from shared.api import AnyRequest, ChatRequest
from shared.pacing import likely_tokens
from shared.prompt_blocks import BLOCK_BYTES, block_names, prompt_text

BYTES_PER_TOKEN = 4
"""UTF-8 bytes to a token, about right for English prose and for scripts of three bytes a character; until more is known."""
TEMPLATE_TOKENS_PER_MESSAGE = 5
"""What a chat template puts around a message: its markers, its role, line ends."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants of an engine, in tokens."""

    prompt_tokens: int
    output_tokens: int
    """Expected."""
    most_output_tokens: int | None = None
    """The limit that the request set; None: as many as the context leaves."""
    ignores_end: bool = False
    """Whether the answer goes on to that limit."""
    blocks: tuple[str, ...] = ()
    """The names of its text's whole blocks, by which it is known whether an engine has them."""
    block_tokens: float = 0.0
    """Of its prompt, estimated, in each of them."""
    text_bytes: int = 0
    """What of its size was estimated from; 0 where its tokens were given."""
    template_tokens: int = 0
    """Of its prompt, assumed to be around that text."""

    @property
    def likely_tokens(self) -> int:
        """As lens reckons, who knows of no other answers."""
        return likely_tokens(self.most_output_tokens, ignores_end=self.ignores_end)

    def tokens_of(self, blocks: int) -> int:
        """The prompt's tokens in so many of its first blocks; never all of them, since a step needs one to run."""
        return max(min(int(blocks * self.block_tokens), self.prompt_tokens - 1), 0)


def ask_of(
    request: AnyRequest, lengths: Lengths = TYPICAL, *, tenant: str = "", bytes_per_token: float = BYTES_PER_TOKEN
) -> Ask:
    """The size of a decoded request, whose answer is as long as such answers are unless it goes on to its limit.

    Args:
        tenant: whose it is, who shares text with nobody.
        bytes_per_token: of its model's tokenizer, as far as is known.
    """
    text_bytes, template_tokens, token_ids = _parts(request)
    prompt_tokens = token_ids + template_tokens + int(-(-text_bytes // bytes_per_token))
    text = prompt_text(request)
    limit = request.output_limit
    return Ask(
        prompt_tokens=prompt_tokens,
        output_tokens=expected_tokens(limit, lengths, ignore_eos=request.ignore_eos),
        most_output_tokens=limit,
        ignores_end=request.ignore_eos,
        blocks=block_names(text, tenant=tenant, model=request.model),
        block_tokens=prompt_tokens * BLOCK_BYTES / max(len(text), 1),
        text_bytes=text_bytes,
        template_tokens=template_tokens,
    )


def expected_tokens(limit: int | None, lengths: Lengths, *, ignore_eos: bool) -> int:
    """How long an answer will be that may have as many tokens as its limit, and where it ignores its end has them."""
    if ignore_eos and limit is not None:
        return limit
    return max(round(lengths.expected(limit)), 1)


def _parts(request: AnyRequest) -> tuple[int, int, int]:
    """A prompt's bytes of text, the tokens of the template around it, and the tokens that it gives itself."""
    if isinstance(request, ChatRequest):
        text_bytes = sum(len(message.text.encode()) for message in request.messages)
        return text_bytes, TEMPLATE_TOKENS_PER_MESSAGE * (len(request.messages) + 1), 0
    prompt = request.single_prompt
    return (len(prompt.encode()), 0, 0) if isinstance(prompt, str) else (0, 0, len(prompt))
