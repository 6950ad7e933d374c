"""Whoever logs, it is one JSON object a line; and what cannot be logged ends nothing."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from shared.logs import configure_logs


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


@contextlib.contextmanager
def logs_to(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[structlog.typing.FilteringBoundLogger]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # it would say so on the same stream
    configure_logs("prism")
    try:
        yield structlog.get_logger()
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()


def test_lines_of_all_loggers_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with logs_to(stream, monkeypatch) as log:
        log.info("request", status=200, tenant="Zoë", engines={"a"}, nothing=None)
        log.debug("not wanted")
        logging.getLogger("uvicorn.error").warning("%d of them", 3)
        log.error("internal error", exc_info=ValueError("bad"))
    request, foreign, internal = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    assert all(line["service"] == "prism" and line["timestamp"] for line in (request, foreign, internal))
    assert (request["event"], request["level"], request["status"]) == ("request", "info", 200)
    assert (request["tenant"], request["engines"], request["nothing"]) == ("Zoë", "{'a'}", None)
    assert (foreign["event"], foreign["level"], foreign["logger"]) == ("3 of them", "warning", "uvicorn.error")
    assert "ValueError: bad" in internal["exception"]


def test_a_line_that_cannot_be_written_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with logs_to(FullDisk(), monkeypatch) as log:
        log.info("request", status=200)
        logging.getLogger("uvicorn.error").warning("of a library")
