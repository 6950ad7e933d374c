"""A run's report: one value, written as JSON and shown as tables."""

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

import msgspec
from rich.console import Console
from rich.table import Table

from loadgen.engines import Engine
from loadgen.outcome import Outcome
from loadgen.score import Foresight, Score, Spread, score_groups

LATE_S = 0.05
"""A request sent later than this after its arrival counts as late."""
EXCERPTS = 4
EXCERPT_CHARACTERS = 220
NOTHING = "–"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was told."""

    url: str
    model: str
    rate_per_s: float
    requests: int
    seed: int
    timeout_s: float


class Group(msgspec.Struct, frozen=True):
    """The score of one engine's requests of one class."""

    engine: str
    slo_class: str
    score: Score


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run; times in seconds."""

    v: int = 1
    settings: Settings
    versions: Mapping[str, str]
    duration_s: float
    late_sends: int
    """Requests sent more than `LATE_S` after their arrival."""
    latest_send_s: float
    groups: tuple[Group, ...]
    engines: tuple[Engine, ...]
    problems: tuple[str, ...]
    """Why the run counts as failed; empty if it does not."""
    outcomes: tuple[Outcome, ...]


def make_report(
    settings: Settings,
    outcomes: Sequence[Outcome],
    engines: Sequence[Engine],
    engine_problems: Sequence[str],
    duration_s: float,
) -> Report:
    """The report of at least one outcome."""
    lateness_s = [outcome.late_s for outcome in outcomes]
    failed = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    problems = [f"{len(failed)} requests did not end well, the first: {failed[0]}"] if failed else []
    return Report(
        settings=settings,
        versions=_versions(),
        duration_s=duration_s,
        late_sends=sum(late_s > LATE_S for late_s in lateness_s),
        latest_send_s=max(lateness_s),
        groups=tuple(Group(*key, group) for key, group in score_groups(outcomes).items()),
        engines=tuple(engines),
        problems=(*problems, *engine_problems),
        outcomes=tuple(outcomes),
    )


def _versions() -> Mapping[str, str]:
    packages = ("aiohttp", "numpy")
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in packages}}


def show(report: Report, console: Console) -> None:
    """Print the tables, some of the text that came back, and what went wrong."""
    console.print(latency_table(report), foresight_table(report), engine_table(report))
    for outcome in _excerpts(report.outcomes):
        console.print(f"\n> {_shortened(outcome.request.prompt)}", style="bold", markup=False)
        console.print(f"{outcome.engine}: {_shortened(outcome.text)}", markup=False, highlight=False)
    console.print(f"\n{_closing_line(report)}", markup=False, highlight=False)
    for problem in report.problems:
        console.print(f"FAILED: {problem}", style="red", markup=False)


def latency_table(report: Report) -> Table:
    """What clients saw, by engine and class."""
    table = _table("Latency, ms", "engine", "class")
    for name in ("requests", "TTFT p50", "p95", "TPOT p50", "p95", "E2E p50", "SLO attained"):
        table.add_column(name, justify="right")
    for group in report.groups:
        score = group.score
        spreads = [cell for spread in (score.ttft_s, score.tpot_s) for cell in _spread_cells(spread)]
        e2e_p50, _ = _spread_cells(score.e2e_s)
        attained = f"{score.attained}/{score.offered} {_percent(score.attainment)}"
        table.add_row(group.engine, group.slo_class, str(score.offered), *spreads, e2e_p50, attained)
    return table


def foresight_table(report: Report) -> Table:
    """What the router foresaw when it sent the request, against what came."""
    table = _table("Foreseen against actual, medians, ms", "engine", "class")
    for name in ("TTFT foreseen", "actual", "error", "TPOT foreseen", "actual", "error"):
        table.add_column(name, justify="right")
    for group in report.groups:
        cells = _foresight_cells(group.score.ttft_foresight) + _foresight_cells(group.score.tpot_foresight)
        table.add_row(group.engine, group.slo_class, *cells)
    return table


def engine_table(report: Report) -> Table:
    """What has been learned of each engine."""
    table = _table("Step models", "engine", "hardware", "health")
    for name in ("steps learned", "MAPE"):
        table.add_column(name, justify="right")
    for engine in report.engines:
        learned = engine.forecast
        mape = NOTHING if learned.mape is None else _percent(learned.mape, 1)
        table.add_row(engine.engine, engine.hardware_class, learned.health, str(learned.steps_learned), mape)
    return table


def _table(title: str, *text_columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in text_columns:
        table.add_column(name)
    return table


def _spread_cells(spread: Spread | None) -> tuple[str, str]:
    return (NOTHING, NOTHING) if spread is None else (_ms(spread.p50), _ms(spread.p95))


def _foresight_cells(foresight: Foresight | None) -> tuple[str, str, str]:
    if foresight is None:
        return NOTHING, NOTHING, NOTHING
    return _ms(foresight.predicted_p50_s), _ms(foresight.actual_p50_s), _percent(foresight.error_p50)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}"


def _percent(fraction: float, decimals: int = 0) -> str:
    return f"{fraction * 100:.{decimals}f} %"


def _excerpts(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Of answers that ended well, some spread over the run."""
    well = [outcome for outcome in outcomes if outcome.problem is None]
    return well[:: max(1, len(well) // EXCERPTS)][:EXCERPTS]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARACTERS else f"{line[:EXCERPT_CHARACTERS]}…"


def _closing_line(report: Report) -> str:
    total = report.groups[-1].score
    tokens_per_s = total.output_tokens / report.duration_s
    return (
        f"{total.ended_well} of {total.offered} requests ended well in {report.duration_s:.0f} s, "
        f"{_percent(total.attainment)} met their targets; {tokens_per_s:.1f} output tokens/s; "
        f"{report.late_sends} sent late (the latest by {_ms(report.latest_send_s)} ms)"
    )
