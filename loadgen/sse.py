"""Server-sent events out of the pieces in which a stream arrives. Pure."""

from collections.abc import Iterator


class SseParser:
    """Takes bytes as they come; a line or an event may be cut anywhere, also inside a character."""

    def __init__(self) -> None:
        self._cut_line = b""
        self._data_lines: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of each event that this piece completes; comments and fields other than `data` are passed over."""
        *lines, self._cut_line = (self._cut_line + piece).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode(errors="replace")
            if text:
                self._take_line(text)
            elif self._data_lines:
                yield "\n".join(self._data_lines)
                self._data_lines = []

    def _take_line(self, line: str) -> None:
        field, _, value = line.partition(":")
        if field == "data":
            self._data_lines.append(value.removeprefix(" "))
