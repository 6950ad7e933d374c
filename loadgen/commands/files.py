"""Where a command writes what it found."""

import argparse
import errno
import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

RUNS = Path("runs")


class Files(NamedTuple):
    """One for each form; None where it was not asked for."""

    json: Path | None
    csv: Path | None
    html: Path | None


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that writes a report."""
    group = parser.add_argument_group("what is written")
    group.add_argument("--name", help=f"write {RUNS}/NAME.json, .csv and .html")
    group.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")
    group.add_argument("--csv", type=Path, metavar="FILE", help="write a row a request")
    group.add_argument("--html", type=Path, metavar="FILE", help="write one page with plots")


def writable_files(options: argparse.Namespace) -> Files:
    """The files that the options name, their folders made: to be asked for before a load, which may take hours, is put on.

    Raises:
        OSError: one could not be written; with its name.
    """
    name: str | None = options.name
    named = [None if name is None else RUNS / f"{name}.{kind}" for kind in ("json", "csv", "html")]
    found = Files(options.report or named[0], options.csv or named[1], options.html or named[2])
    for path in found:
        if path is not None:
            _check_writable(path)
    return found


def write_json(value: Any, path: Path) -> None:
    """Write a report so that people can read it, too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)))


def _check_writable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
