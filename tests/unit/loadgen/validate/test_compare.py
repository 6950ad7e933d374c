"""What counts as agreement between a real run and a simulated one."""

import pytest

from loadgen.score import Score, Spread
from loadgen.validate.compare import Incomparable, Tolerance, gaps

TOLERANCE = Tolerance(attainment=0.03, p50=0.10, p95=0.20)
REAL = Score(
    offered=100,
    ended_well=100,
    attained=80,
    attainment=0.80,
    output_tokens=1000,
    ttft_s=Spread(0.1, 0.5, 0.9),
    tpot_s=Spread(0.02, 0.04, 0.05),
    itl_s=None,
    e2e_s=None,
    ttft_foresight=None,
    tpot_foresight=None,
)


def scored(**changes: object) -> Score:
    return Score(**{**{field: getattr(REAL, field) for field in REAL.__struct_fields__}, **changes})


def test_a_run_agrees_with_itself():
    assert all(gap.is_within and gap.apart == 0.0 for gap in gaps(REAL, REAL, TOLERANCE))


@pytest.mark.parametrize("attainment", [0.769, 0.831])
def test_attainment_is_compared_in_points_whichever_way_it_is_apart(attainment):
    first, *others = gaps(REAL, scored(attainment=attainment), TOLERANCE)
    assert first.figure == "attainment"
    assert first.apart == pytest.approx(attainment - 0.80)
    assert not first.is_within
    assert all(gap.is_within for gap in others)


def test_times_are_compared_with_the_real_ones_and_the_tail_has_a_tolerance_of_its_own():
    found = {gap.figure: gap for gap in gaps(REAL, scored(ttft_s=Spread(0.111, 0.59, 9.0)), TOLERANCE)}
    assert found["ttft_p50_s"].apart == pytest.approx(0.11)
    assert not found["ttft_p50_s"].is_within
    assert found["ttft_p95_s"].apart == pytest.approx(0.18)
    assert found["ttft_p95_s"].is_within


@pytest.mark.parametrize(
    ("real", "simulated", "named"), [(None, REAL.ttft_s, "real"), (REAL.ttft_s, None, "simulated")]
)
def test_runs_in_which_nothing_ended_well_are_not_compared(real, simulated, named):
    with pytest.raises(Incomparable, match=f"no ttft in the {named} run"):
        gaps(scored(ttft_s=real), scored(ttft_s=simulated), TOLERANCE)
