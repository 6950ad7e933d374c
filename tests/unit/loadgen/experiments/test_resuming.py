"""A run that was broken off goes on where it was."""

from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.experiments import lens, prism, resuming
from loadgen.experiments.prism_loads import LIGHT, MIXED, Line
from loadgen.experiments.resuming import run_resumable
from tests.unit.loadgen.experiments.rows import row


def test_what_an_earlier_run_found_is_kept(tmp_path):
    planned = lens.cells(Path("nowhere"), 8, smoke=True)[:2]
    found = [
        msgspec.structs.replace(row(cell.scenario.planner, "round-robin", 0.5), workload=cell.workload, rate=cell.rate)
        for cell in reversed(planned)
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, found)))
    rows = run_resumable(planned, (0, 1), tmp_path / "rows.jsonl", Console(quiet=True), resume=True)
    assert rows == found[::-1]


def test_what_has_changed_since_is_run_anew(tmp_path, monkeypatch):
    planned = [prism.cell(Line(MIXED, LIGHT), policy, Path("nowhere"), 1.0) for policy in ("random", "synergy")]
    found = [
        msgspec.structs.replace(row("synergy", cell.scenario.policy, 0.5), workload=cell.workload, rate=cell.rate)
        for cell in planned
    ]
    better = msgspec.structs.replace(found[1], attainment=0.9)
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, found)))
    monkeypatch.setattr(resuming, "run_cells", lambda cells, *_, **__: [better] if list(cells) == planned[1:] else [])
    rows = run_resumable(
        planned, (0, 1), tmp_path / "rows.jsonl", Console(quiet=True), resume=True, anew=("synergy", "oracle")
    )
    assert rows == [found[0], better]
