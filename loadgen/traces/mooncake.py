"""Mooncake traces (JSON lines): milliseconds, lengths, and an id for each 512-token block of the prompt."""

from codecs import BOM_UTF8
from pathlib import Path
from typing import Annotated

import msgspec

from loadgen.synthetic import BLOCK_TOKENS
from loadgen.traces.fields import UNREADABLE, field_in, problem_in
from loadgen.traces.request import MOST_TOKENS, BadTrace, TraceRequest

Tokens = Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]
BlockId = Annotated[int, msgspec.Meta(ge=0)]


class _Line(msgspec.Struct):
    timestamp: float
    input_length: Tokens
    output_length: Tokens
    hash_ids: tuple[BlockId, ...] = ()


def read(path: Path) -> tuple[TraceRequest, ...]:
    """The requests, in the order of the file.

    Raises:
        BadTrace: the file, a line or a field is wrong.
    """
    try:
        lines = path.read_bytes().removeprefix(BOM_UTF8).splitlines()
    except OSError as error:
        raise BadTrace(path, None, None, str(error)) from error
    numbered = [(number, text) for number, text in enumerate(lines, 1) if text.strip()]
    return tuple(
        TraceRequest(
            at_s=line.timestamp / 1e3,
            prompt_tokens=line.input_length,
            output_tokens=line.output_length,
            prefix_ids=line.hash_ids,
        )
        for line in (_parse(path, number, text) for number, text in numbered)
    )


def _parse(path: Path, number: int, text: bytes) -> _Line:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except UNREADABLE as error:
        raise BadTrace(path, number, field_in(error), problem_in(error)) from error
    blocks = -(-line.input_length // BLOCK_TOKENS)
    if len(line.hash_ids) > blocks:
        problem = f"{len(line.hash_ids)} ids, but {line.input_length} tokens are {blocks} blocks of {BLOCK_TOKENS}"
        raise BadTrace(path, number, "hash_ids", problem)
    return line
