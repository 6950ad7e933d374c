"""A report as one HTML file: tables and plots within it, nothing loaded from anywhere."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from loadgen.goodput import Goodput
from loadgen.plots import attainment_plot, distribution_plot, foresight_plot, timeline_plot
from loadgen.repeats import emulated_in, make_repeats, notice_of
from loadgen.report import LATE_S, Report
from loadgen.score import Score, Spread
from loadgen.tables import EMULATED, NOTHING, estimate_cell

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 } th, td { padding: .15rem .8rem; border-bottom: 1px solid #ddd }
th { text-align: left; font-weight: 600 } td.n { text-align: right; font-variant-numeric: tabular-nums }
svg { max-width: 100%; height: auto } .note { color: #666 }
.bad, .emulated { font-weight: 600 } .bad { color: #b00020 }
"""


def write_page(reports: Sequence[Report], path: Path) -> None:
    """The page of a run and its repeats."""
    settings = reports[0].settings
    title = f"{settings.model}: {_load(reports[0])}{_emulated(reports)}"
    sections = [_warnings(reports), _scores(reports[0])]
    if len(reports) > 1:
        sections.append(_repeats(reports))
    _write(title, [*sections, *_plots(reports)], path)


def write_goodput_page(goodput: Goodput, reports: Sequence[Report], path: Path) -> None:
    """The page of a search: attainment against rate, then the runs at the rate that it found."""
    title = f"{reports[0].settings.model}: goodput at {goodput.target:.0%} attainment{_emulated(reports)}"
    shown = [report for report in reports if report.settings.rate_per_s == goodput.rate_per_s] or reports[-1:]
    rows = [
        (f"{point.rate_per_s:.4g}", estimate_cell(point.attainment, "attainment"), "yes" if point.kept else "no")
        for point in goodput.points
    ]
    found = NOTHING if goodput.rate_per_s is None else f"{goodput.rate_per_s:.4g} requests/s"
    sureness = " Chance may have decided at its edge." if goodput.doubtful else ""
    sections = [
        _warnings(reports),
        f"<p><strong>{found}</strong>. The search ended: {escape(goodput.reason)}.{sureness}</p>",
        attainment_plot(goodput, reports) if goodput.points else "",
        _table(("requests/s", "attainment", "kept"), rows, text_columns=0),
        f"<h2>At {shown[0].settings.rate_per_s:.4g} requests/s</h2>",
        _scores(shown[0]),
        *_plots(shown),
    ]
    _write(title, sections, path)


def _write(title: str, sections: Sequence[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(filter(None, (f"<h1>{escape(title)}</h1>", *sections)))
    path.write_text(f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n', "utf-8")


def _emulated(reports: Sequence[Report]) -> str:
    return EMULATED if emulated_in(reports) else ""


def _load(report: Report) -> str:
    settings = report.settings
    what = "built-in prompts" if settings.source is None else settings.source
    rate = "" if settings.rate_per_s is None else f" at {settings.rate_per_s:g}/s"
    scale = "" if settings.time_scale == 1 else f", time × {settings.time_scale:g}"
    return f"{len(report.outcomes)} requests of {what}, {settings.arrivals} arrivals{rate}{scale}"


def _warnings(reports: Sequence[Report]) -> str:
    notice = notice_of(reports)
    lines = [f"INVALID: the machine was overloaded: {overload}" for report in reports for overload in report.overloads]
    lines += [f"FAILED: {problem}" for report in reports for problem in report.problems]
    paragraphs = [f'<p class="bad">{escape(line)}</p>' for line in dict.fromkeys(lines)]
    return "\n".join(paragraphs if notice is None else (f'<p class="emulated">{escape(notice)}.</p>', *paragraphs))


def _scores(report: Report) -> str:
    header = (
        *("engine", "class", "requests", "ended well", "attained"),
        *(*_spread_header("TTFT"), *_spread_header("TPOT"), "ITL p99", *_spread_header("E2E")),
    )
    rows = [(group.engine, group.slo_class, *_score_cells(group.score)) for group in report.groups]
    late = f"{report.late_sends} requests sent more than {LATE_S * 1e3:.0f} ms late, the latest by {_ms(report.latest_send_s)} ms"
    own = report.own_load
    lag = (
        ""
        if own is None
        else (f"; event loop late by {own.lag_p99_s * 1e3:.1f} ms p99; {own.processor_share:.2f} of a core used")
    )
    warm_up = f"; {report.warm_up_requests} requests of warm-up not scored" if report.warm_up_requests else ""
    note = f"Seed {report.settings.seed}. Times in ms, as measured. {late}{lag}{warm_up}."
    return f'{_table(header, rows, text_columns=2)}<p class="note">{escape(note)}</p>'


def _spread_header(name: str) -> tuple[str, str, str]:
    return f"{name} p50", "p95", "p99"


def _score_cells(score: Score) -> tuple[str, ...]:
    itl_p99 = NOTHING if score.itl_s is None else _ms(score.itl_s.p99)
    attained = f"{score.attainment:.1%}"
    spreads = (*_spread_cells(score.ttft_s), *_spread_cells(score.tpot_s), itl_p99, *_spread_cells(score.e2e_s))
    return (str(score.offered), str(score.ended_well), attained, *spreads)


def _spread_cells(spread: Spread | None) -> tuple[str, str, str]:
    return (NOTHING,) * 3 if spread is None else (_ms(spread.p50), _ms(spread.p95), _ms(spread.p99))


def _repeats(reports: Sequence[Report]) -> str:
    summary = make_repeats(reports).summary
    rows = [(name, estimate_cell(value, name)) for name, value in summary.items()]
    return f"<h2>{len(reports)} repeats: mean ± 95 % interval</h2>{_table(('measure', 'value'), rows, text_columns=1)}"


def _plots(reports: Sequence[Report]) -> Sequence[str]:
    foresight = foresight_plot(reports)
    return (
        _section(
            "Latencies",
            "Requests that ended well, of all repeats: the share that took no longer. Dashed: targets.",
            distribution_plot(reports),
        ),
        ""
        if foresight is None
        else _section("Foreseen by the router against what came", "A point a request.", foresight),
        _section(
            "Engines over time",
            "Blue line: requests in flight. Bars: arrivals, red those that missed a target. Yellow ground: warm-up."
            + (" The first repeat." if len(reports) > 1 else ""),
            timeline_plot(reports[0]),
        ),
    )


def _section(title: str, note: str, drawing: str) -> str:
    return f'<h2>{title}</h2><p class="note">{note}</p>{drawing}'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if number >= text_columns else ''}>{escape(cell)}</td>" for number, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}" if seconds < 0.1 else f"{seconds * 1e3:,.0f}"
