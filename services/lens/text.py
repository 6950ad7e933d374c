"""Tokens to text, as they come: whole characters only, nothing that may be the beginning of a stop string."""

from array import array

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class TextStream:
    """The text of one answer. Special tokens are not text; a stop string and what follows it are never shown."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: tuple[str, ...]) -> None:
        self.stopped = False
        """Whether a stop string has ended the answer."""
        self._tokenizer = tokenizer
        self._stop_strings = stop_strings
        self._stream = DecodeStream(skip_special_tokens=True)
        self._token_ids = array("i")
        self._decoded_characters = 0
        self._held = ""
        """Decoded, not shown yet: it may turn out to be the beginning of a stop string."""

    def push(self, token_id: int) -> str:
        """The text that one more token brings."""
        self._token_ids.append(token_id)
        decoded = self._stream.step(self._tokenizer, token_id) or ""
        self._decoded_characters += len(decoded)
        self._held += decoded
        self._cut_at_stop()
        held_characters = max((self._beginning_of(stop) for stop in self._stop_strings), default=0)
        return self._show(len(self._held) if self.stopped else len(self._held) - held_characters)

    def finish(self) -> str:
        """What is left when no token follows: text held back, and bytes that never became a character."""
        whole = self._tokenizer.decode(list(self._token_ids), skip_special_tokens=True)
        self._held += whole[self._decoded_characters :]
        self._cut_at_stop()
        return self._show(len(self._held))

    def _show(self, characters: int) -> str:
        text, self._held = self._held[:characters], self._held[characters:]
        return text

    def _cut_at_stop(self) -> None:
        found = [at for stop in self._stop_strings if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = self._held[: min(found)]

    def _beginning_of(self, stop: str) -> int:
        """How many last characters of the held text are the first of this stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if stop.startswith(self._held[-n:])), 0)
