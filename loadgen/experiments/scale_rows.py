"""Runs of the scale experiment with what they took on this machine, and their rows."""

import time
from collections.abc import Sequence

import msgspec

from loadgen.experiments.own_rows import OwnRow
from loadgen.simulate.experiment import Cell, run_cell
from loadgen.simulate.rows import RunScore
from loadgen.student import Estimate, estimate


class TimedRun(msgspec.Struct, frozen=True):
    """One run."""

    score: RunScore
    busy_s: float
    """Of a processor, with the drawing of its load."""


class ScaleRow(OwnRow, frozen=True, kw_only=True):
    """A policy at a point."""

    runs: Sequence[TimedRun]
    """By seed."""

    @property
    def attained(self) -> Sequence[float]:
        """Attainment by seed."""
        return [run.score.total.attainment for run in self.runs]

    @property
    def attainment(self) -> Estimate:
        """Over seeds."""
        return estimate(self.attained)

    @property
    def refused(self) -> Estimate:
        """Over seeds."""
        return estimate([run.score.refused for run in self.runs])

    @property
    def ttft_error_p50(self) -> Estimate | None:
        """Median of |actual − predicted| / actual; None where nothing was predicted."""
        foreseen = [run.score.total.ttft_foresight for run in self.runs]
        known = [each.error_p50 for each in foreseen if each is not None]
        return estimate(known) if known else None

    @property
    def brier(self) -> Estimate | None:
        """Of the chances that were told; None where none was."""
        told = [run.score.total.reliability for run in self.runs]
        known = [each.brier for each in told if each is not None]
        return estimate(known) if known else None


def run_timed(cell: Cell, seed: int) -> TimedRun:
    """One run, and how long a processor is busy with it."""
    began_s = time.process_time()
    score = run_cell(cell, seed)
    return TimedRun(score, time.process_time() - began_s)


def row_of(seeds: Sequence[int], cell: Cell, runs: Sequence[TimedRun]) -> ScaleRow:
    """The row of a cell's runs."""
    return ScaleRow(workload=cell.workload, rate=cell.rate, policy=cell.scenario.policy, seeds=tuple(seeds), runs=runs)
