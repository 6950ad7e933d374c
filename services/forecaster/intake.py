"""From a message's bytes to telemetry that can be learned, and what is set aside of it: the boundary, crossed once."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from services.forecaster.plausible import problem_of
from shared.telemetry import Report, StepReport, Telemetry
from shared.wire import Message, UnreadableMessage, decode

MOST_BYTES = 512 * 1024
"""Several times what 256 reports take; a longer message would hold up the others while it is learned."""
MOST_BYTES_KEPT = 1024
MOST_CHARACTERS = 200
"""Of a name, and of what is told of a problem."""
LARGEST_NUMBER = 2**53
"""Of a message, in its lens's count."""


class Reason(StrEnum):
    """Why something was set aside."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    OTHER_ENGINE = "other_engine"
    BAD_REPORT = "bad_report"
    IMPOSSIBLE_STEP = "impossible_step"
    BREAKING_STEP = "breaking_step"
    TOO_MANY_ENGINES = "too_many_engines"


class SetAside(NamedTuple):
    """A message or a single report that nothing is learned from."""

    reason: Reason
    problem: str
    data: bytes
    """The first of it."""


class Reading(NamedTuple):
    """What a message says; no telemetry where all of it was set aside."""

    telemetry: Telemetry | None
    set_aside: tuple[SetAside, ...] = ()


class _Envelope(Message, frozen=True, kw_only=True):
    engine: str
    lens: str
    sequence: int
    reports: tuple[msgspec.Raw, ...]
    kind: str = ""


def read(engine: str, data: bytes) -> Reading:
    """The telemetry in a message that came on the engine's subject. A bad report sets aside itself alone."""
    if len(data) > MOST_BYTES:
        return _nothing(Reason.TOO_LARGE, f"{len(data)} bytes; at most {MOST_BYTES} are read", data)
    try:
        reading = Reading(decode(data, Telemetry))
    except UnreadableMessage as error:
        try:
            reading = _one_by_one(decode(data, _Envelope))
        except UnreadableMessage:
            return _nothing(Reason.UNREADABLE, str(error), data)
    assert reading.telemetry is not None
    if reading.telemetry.engine != engine:
        return _nothing(
            Reason.OTHER_ENGINE, f"of engine {reading.telemetry.engine!r} on the subject of {engine!r}", data
        )
    if not 0 < reading.telemetry.sequence < LARGEST_NUMBER:
        return _nothing(Reason.UNREADABLE, f"message number {reading.telemetry.sequence}", data)
    for field, name in (("engine", engine), ("lens", reading.telemetry.lens), ("kind", reading.telemetry.kind)):
        if len(name) > MOST_CHARACTERS:
            return _nothing(Reason.UNREADABLE, f"{field} has {len(name)} characters; at most {MOST_CHARACTERS}", data)
    return reading


def unexpected(data: bytes, error: Exception) -> Reading:
    """A message that could not even be refused in the ordinary way."""
    return _nothing(Reason.UNREADABLE, f"{type(error).__name__}: {error}", data)


def impossible(step: StepReport) -> SetAside:
    """A step that no engine could have run."""
    return _set_aside(Reason.IMPOSSIBLE_STEP, problem_of(step) or "not learnable", msgspec.json.encode(step))


def breaking(step: StepReport, error: Exception) -> SetAside:
    """A step that the engine's model broke on, which is begun anew."""
    return _set_aside(Reason.BREAKING_STEP, f"model begun anew: {error}", msgspec.json.encode(step))


def absurd_number(sequence: int) -> SetAside:
    """A message whose number is far from the one before, which no lens counts to in between."""
    return _set_aside(Reason.UNREADABLE, f"message number {sequence} is far from the one before", b"")


def too_many_engines(engine: str, most: int) -> SetAside:
    """Telemetry of one engine more than are learned."""
    return _set_aside(Reason.TOO_MANY_ENGINES, f"{engine!r} is one more than the {most} that are learned", b"")


def _one_by_one(envelope: _Envelope) -> Reading:
    reports: list[Report] = []
    set_aside = []
    for raw in envelope.reports:
        try:
            reports.append(msgspec.json.decode(raw, type=Report))
        except (msgspec.MsgspecError, RecursionError) as error:
            set_aside.append(_set_aside(Reason.BAD_REPORT, str(error), bytes(raw)))
    telemetry = Telemetry(
        engine=envelope.engine,
        lens=envelope.lens,
        sequence=envelope.sequence,
        reports=tuple(reports),
        kind=envelope.kind,
    )
    return Reading(telemetry, tuple(set_aside))


def _nothing(reason: Reason, problem: str, data: bytes) -> Reading:
    return Reading(None, (_set_aside(reason, problem, data),))


def _set_aside(reason: Reason, problem: str, data: bytes) -> SetAside:
    return SetAside(reason, problem[:MOST_CHARACTERS], data[:MOST_BYTES_KEPT])
