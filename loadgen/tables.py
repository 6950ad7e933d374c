"""A report as tables, for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from loadgen.goodput import Goodput
from loadgen.outcome import Outcome
from loadgen.repeats import Repeats, notice_of
from loadgen.report import LATE_S, Report
from loadgen.score import Foresight, Spread
from loadgen.student import Estimate

EXCERPTS = 4
EXCERPT_CHARACTERS = 220
NOTHING = "–"
EMULATED = ", EMULATED engines"


def show(report: Report, console: Console) -> None:
    """Print the tables, some of the text that came back, and what went wrong."""
    console.print(latency_table(report))
    if any(group.score.ttft_foresight or group.score.tpot_foresight for group in report.groups):
        console.print(foresight_table(report))
    if report.engines:
        console.print(engine_table(report))
    for outcome in _excerpts(report.outcomes):
        console.print(f"\n> {_shortened(_prompt(outcome))}", style="bold", markup=False)
        answered = f"{outcome.engine}: " if outcome.engine else ""
        console.print(f"{answered}{_shortened(outcome.text)}", markup=False, highlight=False)
    console.print(f"\n{_closing_line(report)}", markup=False, highlight=False)
    show_problems(report, console)


def show_problems(report: Report, console: Console) -> None:
    """Print that engines were emulated, why the run failed, and why its figures do not count."""
    show_notice((report,), console)
    for problem in report.problems:
        console.print(f"FAILED: {problem}", style="red", markup=False)
    for overload in report.overloads:
        console.print(f"INVALID: the machine was overloaded: {overload}", style="red", markup=False)


def show_notice(reports: Sequence[Report], console: Console) -> None:
    """Print that engines were emulated, if they were."""
    notice = notice_of(reports)
    if notice is not None:
        console.print(notice, style="bold", markup=False, highlight=False)


def repeats_table(repeats: Repeats) -> Table:
    """Means over the repeats, with half the width of their 95 % intervals."""
    emulated = EMULATED if repeats.emulated_engines else ""
    table = _table(f"{len(repeats.reports)} repeats: mean ± 95 % interval{emulated}", "measure")
    table.add_column("value", justify="right")
    for name, value in repeats.summary.items():
        table.add_row(name, estimate_cell(value, name))
    return table


def goodput_table(goodput: Goodput, *, is_emulated: bool) -> Table:
    """The rates of a search, from the lowest."""
    table = _table(f"Goodput at {_percent(goodput.target)} attainment{EMULATED if is_emulated else ''}")
    for name in ("requests/s", "attainment", "kept"):
        table.add_column(name, justify="right")
    for point in sorted(goodput.points, key=lambda point: point.rate_per_s):
        table.add_row(
            f"{point.rate_per_s:.4g}", estimate_cell(point.attainment, "attainment"), "yes" if point.kept else "no"
        )
    return table


def estimate_cell(value: Estimate, name: str) -> str:
    """In the unit that goes with the measure's name."""
    if name.endswith("_s") and not name.endswith("_per_s"):
        factor, unit = 1e3, " ms"
    elif name == "attainment":
        factor, unit = 1e2, " %"
    else:
        factor, unit = 1.0, ""
    doubt = "" if value.ci95 is None else f" ± {factor * value.ci95:,.3g}"
    return f"{factor * value.mean:,.4g}{doubt}{unit}"


def latency_table(report: Report) -> Table:
    """What clients saw, by engine and class."""
    emulated = EMULATED if report.emulated_engines else ""
    table = _table(f"Latency, ms{emulated}", "engine", "class")
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


def _prompt(outcome: Outcome) -> str:
    prompt = outcome.request.prompt
    return prompt if isinstance(prompt, str) else f"({prompt.tokens} synthetic tokens)"


def _closing_line(report: Report) -> str:
    total = report.total
    warm_up = f" after {report.warm_up_requests} of warm-up" if report.warm_up_requests else ""
    line = (
        f"{total.ended_well} of {total.offered} requests{warm_up} ended well in {report.scored_s:.0f} s, "
        f"{_percent(total.attainment)} met their targets ({report.goodput_per_s:.3g}/s); {report.output_tokens_per_s:.1f} output tokens/s; "
        f"{report.late_sends} sent more than {_ms(LATE_S)} ms late (the latest by {_ms(report.latest_send_s)} ms)"
    )
    own = report.own_load
    if own is None:
        return line
    return f"{line}; event loop late by {_ms(own.lag_p99_s)} ms p99, {own.processor_share:.2f} of a core used"
