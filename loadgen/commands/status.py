"""Exit statuses."""

from collections.abc import Iterable

from loadgen.report import Report

FAILED, WRONG_USE, INVALID = 1, 2, 3
"""The system did not do what was asked; the command is wrong; the generator's own machine was overloaded."""


def exit_status(reports: Iterable[Report]) -> int:
    """Of runs together: what an overloaded generator saw says nothing else."""
    known = tuple(reports)
    if any(report.overloads for report in known):
        return INVALID
    return FAILED if any(report.problems for report in known) else 0
