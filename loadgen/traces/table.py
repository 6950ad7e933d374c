"""Rows of a CSV file, checked field by field."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadgen.traces.request import MOST_TOKENS, BadTrace


class Row:
    """One line below the header.

    Args:
        columns: the position of each column.
        cells: as they stand in the file.
    """

    def __init__(self, path: Path, line: int, columns: dict[str, int], cells: Sequence[str]) -> None:
        self._path = path
        self._line = line
        self._columns = columns
        self._cells = cells

    def text(self, field: str) -> str:
        """The cell.

        Raises:
            BadTrace: the line is too short to have it, or it is empty.
        """
        cell = self.text_or_none(field)
        if cell is None:
            raise self.bad(field, "is empty")
        return cell

    def text_or_none(self, field: str) -> str | None:
        """The cell, where the file has the column and the line has something in it."""
        position = self._columns.get(field)
        return None if position is None or position >= len(self._cells) else self._cells[position].strip() or None

    def tokens(self, field: str, least: int = 1) -> int:
        """A whole number, also where it is written 12.0.

        Raises:
            BadTrace: it is none, below `least`, or above `MOST_TOKENS`.
        """
        cell = self.text(field)
        try:
            number = int(cell.removesuffix(".0"))
        except ValueError:
            raise self.bad(field, f"{cell!r} is not a whole number") from None
        if number < least:
            raise self.bad(field, f"{number} is below {least}")
        if number > MOST_TOKENS:
            raise self.bad(field, f"{number} is above {MOST_TOKENS}")
        return number

    def seconds(self, field: str) -> float:
        """A number.

        Raises:
            BadTrace: it is none, or not finite.
        """
        cell = self.text(field)
        try:
            number = float(cell)
        except ValueError:
            raise self.bad(field, f"{cell!r} is not a number") from None
        if not abs(number) < float("inf"):
            raise self.bad(field, f"{cell} is not finite")
        return number

    def bad(self, field: str, problem: str) -> BadTrace:
        """The error that says what is wrong with a field of this row."""
        return BadTrace(self._path, self._line, field, problem)


def read_rows(path: Path, fields: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file whose header has at least these fields; empty lines are passed over.

    Raises:
        BadTrace: the file cannot be read, is not a CSV file in UTF-8, or lacks one of the fields.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = {name.strip(): position for position, name in enumerate(next(reader, []))}
            if missing := [field for field in fields if field not in columns]:
                raise BadTrace(path, 1, missing[0], "is not in the header")
            for cells in reader:
                if cells:
                    yield Row(path, reader.line_num, columns, cells)
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    except (OSError, csv.Error) as error:
        raise BadTrace(path, None, None, str(error)) from error


def not_utf8(path: Path) -> BadTrace:
    """The error that says in which line a file is not in UTF-8; what reads it in pieces does not know."""
    raw = path.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return BadTrace(path, raw.count(b"\n", 0, error.start) + 1, None, f"is not in UTF-8: {error.reason}")
    return BadTrace(path, None, None, "changed while it was read")
