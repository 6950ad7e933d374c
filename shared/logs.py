"""Structured logs: one JSON object a line on standard error, from structlog and from libraries alike.

Events name what happened; values are fields. Prompts and answers are never logged.
"""

import contextlib
import json
import logging
import sys
from typing import TextIO

import structlog


class _Lines:
    """A logger of lines that are ready. The standard library's own way to the same stream takes three times as long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def info(self, line: str) -> None:
        """Write it, if that is possible: what is logged must not end what it tells of."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = warning = error = critical = info


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send every log line of this process through one JSON renderer, marked with the service's name."""
    shared_processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared_processors, _render],
        logger_factory=lambda *_: _Lines(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared_processors, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


_ENCODER = json.JSONEncoder(default=repr)


def _render(_logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict) -> str:
    return _ENCODER.encode(event)


def _name_service(service: str) -> structlog.typing.Processor:
    def add(
        _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add
