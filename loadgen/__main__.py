"""`python -m loadgen COMMAND`: put load on a running or a simulated system, measure it, and report."""

import argparse
import shlex
import sys
from collections.abc import Sequence

from rich.console import Console

from loadgen.commands import goodput, run, simulate
from loadgen.commands.status import FAILED, WRONG_USE
from loadgen.engines import NoSystem
from loadgen.load import ImpossibleLoad
from loadgen.report import NothingScored
from loadgen.traces import BadTrace
from services.engine.profile import BadProfile, UnknownProfile
from shared.open_files import allow_many_connections

PLAIN_COLUMNS = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except UnicodeDecodeError as error:
        parser.error(f"a file of arguments is not in UTF-8: {error}")
    except RecursionError:
        parser.error("a file of arguments stands for itself")
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    allow_many_connections()
    try:
        status: int = options.command(options, console)
    except NoSystem as error:
        console.print(str(error), style="red", markup=False)
        return FAILED
    except (BadProfile, BadTrace, ImpossibleLoad, NothingScored, UnknownProfile) as error:
        console.print(str(error), style="red", markup=False)
        return WRONG_USE
    except OSError as error:
        console.print(f"cannot be written: {error}", style="red", markup=False)
        return FAILED
    return status


class _Parser(argparse.ArgumentParser):
    """Takes arguments from files, too, written as a shell would have them: what describes a workload is long."""

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        try:
            return shlex.split(arg_line, comments=True)
        except ValueError as error:
            self.error(f"{arg_line!r}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m loadgen",
        description=__doc__,
        epilog="@FILE stands for the arguments in a file: as many to a line as you like, # begins a comment.",
        fromfile_prefix_chars="@",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser)
    run.add(commands)
    goodput.add(commands)
    simulate.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
