"""Exit statuses."""

from collections.abc import Iterable

from loadgen.report import Report

FAILED, WRONG_USE, INVALID = 1, 2, 3
"""The system did not do what was asked; the command is wrong; a machine was overloaded, its own or emulated engines'."""

TERMINATED = 143
"""By SIGTERM, after everything that was started has been stopped."""


def exit_status(reports: Iterable[Report]) -> int:
    """Of runs together: what was seen of an overloaded machine says nothing else."""
    known = tuple(reports)
    if any(report.overloads for report in known):
        return INVALID
    return FAILED if any(report.problems for report in known) else 0
