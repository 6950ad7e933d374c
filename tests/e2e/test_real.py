"""The experiment with real processes, in small: fleets with routers of their own before them, and a row a system."""

import msgspec
import pytest

from loadgen.commands.status import INVALID
from loadgen.experiments import real
from loadgen.experiments.real_parts import BOTH
from loadgen.experiments.real_rows import RealRow


@pytest.mark.timeout(300)  # two fleets start and stop
def test_the_experiment_with_real_processes_is_smoked(tmp_path):
    status = real.main(["--smoke", "--rows", str(tmp_path / "rows.jsonl")])
    rows = [msgspec.json.decode(line, type=RealRow) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    assert {row.layers for row in rows} == set(real.SMOKED)
    assert len({(row.offered, row.rate_per_s, row.seed) for row in rows}) == 1
    assert all(row.failed == 0 for row in rows)
    assert all(row.late_share is not None and not row.simulated for row in rows)
    assert {row.layers for row in rows if row.ttft_error_p50 is not None} == {BOTH}
    text = (tmp_path / "rows.md").read_text()
    assert text.startswith("# Both layers on one machine")
    assert "(rows.svg)" in text
    assert (tmp_path / "rows.svg").read_text().startswith("<svg")
    assert status == (INVALID if any(row.overloads for row in rows) else 0)  # this machine may be busy with whatever
