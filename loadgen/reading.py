"""An answer as it is read from its stream, event by event. Pure."""

from array import array
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

KEPT_CHARACTERS = 500
"""Of an answer's text; a run of long answers would fill the memory."""


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    text: str | None = None
    finish_reason: str | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str


class _Usage(msgspec.Struct, frozen=True):
    """As far as a report needs it; not every server counts the total."""

    prompt_tokens: Annotated[int, msgspec.Meta(ge=0)]
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)]


class _Event(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | None = None


_DECODER = msgspec.json.Decoder(_Event)
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""Servers may send anything: also what is nested too deeply, or not in UTF-8."""


class BrokenStream(ValueError):
    """A stream that says an error, or does not say how it ended."""


class Reading:
    """An answer as it is read.

    Args:
        sent_at_s: on the clock of the events.
    """

    __slots__ = (
        "_e2e_s",
        "_finish_reason",
        "_gaps_s",
        "_kept",
        "_last_at_s",
        "_sent_at_s",
        "_texts",
        "_ttft_s",
        "_usage",
    )

    def __init__(self, sent_at_s: float) -> None:
        self._sent_at_s = sent_at_s
        self._texts: list[str] = []
        self._kept = 0
        self._gaps_s = array("f")
        self._last_at_s = sent_at_s
        self._ttft_s: float | None = None
        self._e2e_s: float | None = None
        self._finish_reason: str | None = None
        self._usage: _Usage | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any text has come."""
        return self._ttft_s is not None

    def take(self, data: str, at_s: float) -> None:
        """Read one event that came at this instant of the clock of `sent_at_s`.

        Raises:
            BrokenStream: the event is an error, or no event of such a stream.
        """
        try:
            event = _DECODER.decode(data)
        except UNREADABLE as error:
            raise BrokenStream(f"not an event of an OpenAI stream: {error}: {data[:200]}") from None
        if event.error is not None:
            raise BrokenStream(event.error.message)
        self._usage = event.usage or self._usage
        for choice in event.choices:
            if text := choice.delta.content or choice.text or choice.delta.reasoning_content:
                self._take_text(text, at_s)
            if choice.finish_reason is not None:
                self._finish_reason = choice.finish_reason
                self._e2e_s = at_s - self._sent_at_s

    def _take_text(self, text: str, at_s: float) -> None:
        if self._ttft_s is None:
            self._ttft_s = at_s - self._sent_at_s
        else:
            self._gaps_s.append(at_s - self._last_at_s)
        self._last_at_s = at_s
        if self._kept < KEPT_CHARACTERS:
            self._texts.append(text)
            self._kept += len(text)

    @property
    def fields(self) -> Mapping[str, Any]:
        """What has been read, by field of `Outcome`."""
        return {
            "text": "".join(self._texts)[:KEPT_CHARACTERS],
            "ttft_s": self._ttft_s,
            "e2e_s": self._e2e_s,
            "gaps": self._gaps_s.tobytes(),
            "finish_reason": self._finish_reason,
            "prompt_tokens": None if self._usage is None else self._usage.prompt_tokens,
            "output_tokens": None if self._usage is None else self._usage.completion_tokens,
        }


def error_message(body: bytes) -> str:
    """What an error's body says."""
    try:
        error = _DECODER.decode(body).error
    except UNREADABLE:
        error = None
    return body.decode(errors="replace")[:200] if error is None else error.message
