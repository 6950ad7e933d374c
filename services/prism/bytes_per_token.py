"""How many bytes of text make a token, by model: learned from what engines count, so that prism needs no tokenizer. Pure."""

import msgspec

from services.prism.prompt_size import BYTES_PER_TOKEN, Ask

LEAST, MOST = 1.0, 16.0
"""A token is a byte at the least; what is beyond the most is no text that anybody pays for."""
FORGETTING = 0.99
"""Of what was learned before, with each answer: texts may change, and so may a model behind its name."""
TRUSTED_TOKENS = 200.0
"""So many tokens say as much as what is assumed before anything is known."""


class _Counted(msgspec.Struct):
    num_bytes: float = TRUSTED_TOKENS * BYTES_PER_TOKEN
    tokens: float = TRUSTED_TOKENS


class BytesPerToken:
    """Bytes over tokens, of the latest hundred or so prompts of each model together: long ones count for more."""

    def __init__(self) -> None:
        self._counted: dict[str, _Counted] = {}

    def of(self, model: str) -> float:
        """The bytes of text that make a token of this model."""
        counted = self._counted.get(model)
        return BYTES_PER_TOKEN if counted is None else min(max(counted.num_bytes / counted.tokens, LEAST), MOST)

    def learn(self, model: str, ask: Ask, prompt_tokens: int) -> None:
        """An engine has counted a prompt's tokens, its template's included; says nothing where the prompt was no text."""
        tokens = prompt_tokens - ask.template_tokens
        if not ask.text_bytes or tokens <= 0:
            return
        counted = self._counted.setdefault(model, _Counted())
        counted.num_bytes = FORGETTING * counted.num_bytes + ask.text_bytes
        counted.tokens = FORGETTING * counted.tokens + tokens
