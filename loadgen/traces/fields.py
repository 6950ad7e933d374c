"""Which field msgspec's message is about, and what it says of it."""

import msgspec

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What decoding JSON raises: it is none, or not of the type; is nested too deeply; is not in UTF-8."""


def field_in(error: Exception) -> str | None:
    """The field: others than a missing one stand at the end of the message, as a path; that one is quoted."""
    message = str(error)
    path = message.rpartition("`$.")[2].rstrip("`") if "`$." in message else ""
    missing = message.split("field `", 1)[1].split("`", 1)[0] if "field `" in message else ""
    return ".".join(filter(None, (path, missing))) or None


def problem_in(error: Exception) -> str:
    """The message without the path."""
    return str(error).split(" - at `", 1)[0]
