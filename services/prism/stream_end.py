"""How an answer ended and how many tokens it had, from what passes by: events are counted, only the last bytes looked at. Pure."""

import re
from collections import deque
from typing import NamedTuple

import msgspec

EVENT_END = b"\n\n"
STREAM_END = b"data: [DONE]\n\n"
LAST_PIECES = 4
"""In which a stream says how it ended: events for why, for the tokens and the end mark, which an engine sends at once."""

_FINISH = re.compile(rb'"finish_reason":\s*"(\w+)"')
_COUNTED = re.compile(rb'"completion_tokens":\s*(\d{1,10})\b')


class Ending(NamedTuple):
    """What an answer says of its end; None where it does not."""

    output_tokens: int | None = None
    finish_reason: str | None = None


class StreamEnd:
    """Takes a stream in pieces that are whole events.

    Attributes:
        is_here: whether its end mark has come.
    """

    __slots__ = ("_events", "_last", "is_here")

    def __init__(self) -> None:
        self.is_here = False
        self._events = 0
        self._last: deque[bytes] = deque(maxlen=LAST_PIECES)

    def take(self, events: bytes) -> bool:
        """Whether the stream ends with this piece."""
        self._events += events.count(EVENT_END)
        self._last.append(events)
        if events.endswith(STREAM_END):
            self.is_here = events == STREAM_END or events.endswith(EVENT_END + STREAM_END)
        return self.is_here

    @property
    def ending(self) -> Ending:
        """Of a stream that has ended.

        Where it does not count its tokens, each event that brings text counts for one; the event that says why the answer
        ended stands for the token that ended it, which has no text.
        """
        last = b"".join(self._last)
        finish = _FINISH.search(last)
        finish_reason = None if finish is None else finish[1].decode()
        counted = _COUNTED.search(last)
        if counted is not None:
            return Ending(int(counted[1]), finish_reason)
        textless = self.is_here + (finish_reason == "length")
        return Ending(max(self._events - textless, 0), finish_reason)


class _Choice(msgspec.Struct, frozen=True):
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    completion_tokens: int | None = None


class _Whole(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Whole)


def ending_of(body: bytes) -> Ending:
    """Of an answer in one piece; nothing is known where it is none."""
    try:
        whole = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Ending()
    finish_reason = whole.choices[0].finish_reason if whole.choices else None
    return Ending(None if whole.usage is None else whole.usage.completion_tokens, finish_reason)
