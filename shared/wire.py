"""How messages and keys are written: JSON with a schema version; a reader accepts its own version and the one before."""

from typing import TypeVar

import msgspec

SCHEMA_VERSION = 1
OLDEST_READABLE_VERSION = 1


class UnreadableMessage(ValueError):
    """Bytes that are not a message of this contract; says what was wrong."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A value that travels between services. New fields have defaults, so that older writers stay readable."""

    v: int = SCHEMA_VERSION


MessageType = TypeVar("MessageType", bound=Message)


def encode(message: Message) -> bytes:
    """The message as JSON, readable with `redis-cli` and `nats sub`."""
    return msgspec.json.encode(message)


def decode(data: bytes | str, kind: type[MessageType]) -> MessageType:
    """The message of this kind that the bytes, or the text, say.

    Raises:
        UnreadableMessage: not JSON, not of this kind, or of a version that is not readable here.
    """
    try:
        message = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableMessage(f"{kind.__name__}: {error}") from error
    if not OLDEST_READABLE_VERSION <= message.v <= SCHEMA_VERSION:
        readable = f"{OLDEST_READABLE_VERSION}…{SCHEMA_VERSION}"
        raise UnreadableMessage(f"{kind.__name__}: schema version {message.v}; this reader has {readable}")
    return message
