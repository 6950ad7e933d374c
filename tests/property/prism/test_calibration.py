"""Whatever becomes of requests, corrections stay within their bounds."""

from hypothesis import given
from hypothesis import strategies as st

from services.prism.calibration import FIRST_DEVIATION, LEAST_DEVIATION, MOST_RATIO, Calibration, Errors

MOST_DEVIATION = 3.0
times = st.none() | st.floats(0.0, 1e12)
factors = st.floats(1 / MOST_RATIO, MOST_RATIO)
corrections = st.builds(Errors, factors, st.just(FIRST_DEVIATION), factors, st.just(FIRST_DEVIATION))


@given(st.lists(st.tuples(st.sampled_from("abc"), times, times, times, times, corrections), max_size=60))
def test_no_outcomes_lead_out_of_the_bounds(
    notes: list[tuple[str, float | None, float | None, float | None, float | None, Errors]],
) -> None:
    calibration = Calibration()
    for note in notes:
        calibration.note(*note)
    for engine in "abcd":
        known = calibration.of(engine)
        assert 1 / MOST_RATIO - 1e-9 <= known.ttft_factor <= MOST_RATIO + 1e-9
        assert 1 / MOST_RATIO - 1e-9 <= known.tpot_factor <= MOST_RATIO + 1e-9
        assert LEAST_DEVIATION <= known.ttft_deviation <= MOST_DEVIATION
        assert LEAST_DEVIATION <= known.tpot_deviation <= MOST_DEVIATION
