"""The live experiment on small real systems: every planner has the same load, and a row each."""

import msgspec
import pytest

from loadgen.commands.status import INVALID
from loadgen.experiments import lens_live
from loadgen.experiments.live_benches import BENCHES
from loadgen.experiments.live_rows import LiveRow


@pytest.mark.timeout(400)  # two whole systems start and stop
def test_the_live_experiment_is_smoked(tmp_path):
    status = lens_live.main(["--smoke", "--rows", str(tmp_path / "rows.jsonl")])
    rows = [msgspec.json.decode(line, type=LiveRow) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    assert {row.system for row in rows} == {bench.name for bench in BENCHES}
    for system in {row.system for row in rows}:
        of_system = [row for row in rows if row.system == system]
        assert "synergy" in {row.planner for row in of_system}
        assert len({(row.offered, row.rate_per_s, row.seed) for row in of_system}) == 1
        assert all(row.failed == 0 for row in of_system)
        assert all((row.late_share is not None) == row.emulated for row in of_system)
    assert status == (INVALID if any(row.overloads for row in rows) else 0)  # this machine may be busy with whatever
