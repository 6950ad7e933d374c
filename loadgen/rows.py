"""A report as CSV, a row a request."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from loadgen.report import Report
from loadgen.synthetic import Synthetic

COLUMNS = (
    *("seed", "scored", "arrival_s", "late_ms", "slo_class", "session"),
    *("engine", "emulated", "route_reason", "status", "attempts"),
    *("asked_prompt_tokens", "prompt_tokens", "max_tokens", "output_tokens", "finish_reason"),
    *("ttft_ms", "tpot_ms", "itl_p99_ms", "e2e_ms", "predicted_ttft_ms", "predicted_tpot_ms"),
    *("target_ttft_ms", "target_tpot_ms", "target_e2e_ms", "attained", "problem"),
)


def write_rows(reports: Iterable[Report], path: Path) -> None:
    """Write all requests of the runs, those of the warm-up too; what never came to be is an empty cell.

    `emulated` is 1 where the engine that answered took the time of a profiled GPU and computed nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for report in reports:
            writer.writerows(_rows(report))


def _rows(report: Report) -> Iterator[tuple[object, ...]]:
    for number, outcome in enumerate(report.outcomes):
        request, slo = outcome.request, outcome.request.slo
        itl_p99_s = float(np.percentile(outcome.itl_s, 99)) if len(outcome.itl_s) else None
        yield (
            report.settings.seed,
            int(number >= report.warm_up_requests),
            f"{request.arrival_s:.6f}",
            _ms(outcome.late_s),
            slo.name,
            request.session,
            outcome.engine,
            None if outcome.engine is None else int(outcome.engine in report.emulated_engines),
            outcome.route_reason,
            outcome.status,
            outcome.attempts,
            request.prompt.tokens if isinstance(request.prompt, Synthetic) else None,
            outcome.prompt_tokens,
            request.max_tokens,
            outcome.output_tokens,
            outcome.finish_reason,
            *map(_ms, (outcome.ttft_s, outcome.tpot_s, itl_p99_s, outcome.e2e_s)),
            *map(_ms, (outcome.predicted_ttft_s, outcome.predicted_tpot_s, slo.ttft_s, slo.tpot_s, slo.e2e_s)),
            int(outcome.attained),
            outcome.problem,
        )


def _ms(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1e3:.3f}"
