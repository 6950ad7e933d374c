"""What two prompts have in common, told without a tokenizer: prism and lens cut a prompt's text alike and name its blocks alike.

A block's name stands for the whole text up to its end, so the names of a longer text begin with those of its beginning, and
two texts that differ anywhere have different names from there on.
"""

import hashlib
from array import array

from shared.api import AnyRequest, ChatRequest

BLOCK_BYTES = 512
"""About 128 tokens of English: what a hit is told to, and about eight blocks of an engine's cache."""
MOST_BLOCKS = 256
"""What is longer is not looked at: 128 KiB of text are more than most contexts hold."""
NAME_CHARACTERS = 16
"""64 bits in hexadecimal: a fleet would have to hold billions of blocks before two were mistaken for each other."""

_MARK = b"\xff"
"""No byte of UTF-8: what stands between the parts of a text cannot be a part of it."""
_TOKENS_MARK = b"\xfe"


def prompt_text(request: AnyRequest) -> bytes:
    """The text of a prompt: a chat's next turn begins with the whole of this one's; token ids are as good as text.

    Empty where there are token ids that no model has.
    """
    if isinstance(request, ChatRequest):
        return b"".join([_MARK + m.role.encode() + _MARK + m.text.encode() for m in request.messages])
    prompt = request.single_prompt
    if isinstance(prompt, str):
        return prompt.encode()
    try:
        return _TOKENS_MARK + array("i", prompt).tobytes()
    except OverflowError:
        return b""


def block_names(text: bytes, *, tenant: str, model: str) -> tuple[str, ...]:
    """The names of a text's whole blocks, from its beginning; of another tenant or model they are all others.

    SHA-256, since processors compute it themselves: 32 KiB take about 60 µs.
    """
    state = hashlib.sha256(_MARK.join((tenant.encode(), model.encode(), b"")), usedforsecurity=False)
    view = memoryview(text)
    names = []
    for end in range(BLOCK_BYTES, min(len(text), MOST_BLOCKS * BLOCK_BYTES) + 1, BLOCK_BYTES):
        state.update(view[end - BLOCK_BYTES : end])
        names.append(state.hexdigest()[:NAME_CHARACTERS])
    return tuple(names)
