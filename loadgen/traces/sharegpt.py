"""ShareGPT (JSON): conversations as text, no arrivals. The first exchange of each counts, as is usual in serving benchmarks."""

from codecs import BOM_UTF8
from pathlib import Path

import msgspec

from loadgen.traces.fields import UNREADABLE, field_in, problem_in
from loadgen.traces.request import BadTrace, TraceRequest

CHARACTERS_A_TOKEN = 4
"""Of English, with the vocabularies of today; so lengths are estimates until a server counts."""
PEOPLE = ("human", "user")
MODELS = ("gpt", "assistant", "chatgpt", "bard", "bing", "model")


class _Turn(msgspec.Struct):
    speaker: str = msgspec.field(name="from")
    value: str


class _Conversation(msgspec.Struct):
    conversations: tuple[_Turn, ...]


def read(path: Path) -> tuple[TraceRequest, ...]:
    """A request for each conversation that a person begins and a model answers; others are left out.

    Raises:
        BadTrace: the file, a conversation or a field is wrong; its line is where the conversation begins.
    """
    try:
        raw = path.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        raise BadTrace(path, None, None, str(error)) from error
    try:
        items = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except UNREADABLE as error:
        raise BadTrace(path, None, None, str(error)) from error
    requests = []
    position = 0
    for number, item in enumerate(items):
        position = raw.index(bytes(item), position)
        try:
            conversation = msgspec.json.decode(item, type=_Conversation)
        except UNREADABLE as error:
            line = raw.count(b"\n", 0, position) + 1
            field = ".".join(filter(None, (f"[{number}]", field_in(error))))
            raise BadTrace(path, line, field, problem_in(error)) from error
        request = _request(conversation)
        position += len(bytes(item))
        if request is not None:
            requests.append(request)
    return tuple(requests)


def _request(conversation: _Conversation) -> TraceRequest | None:
    match conversation.conversations:
        case [asked, answered, *_] if asked.speaker in PEOPLE and answered.speaker in MODELS:
            if not asked.value.strip() or not answered.value.strip():
                return None
            return TraceRequest(None, _tokens(asked.value), _tokens(answered.value), text=asked.value)
    return None


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_A_TOKEN)
