import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.forecaster.engine_model import EngineModel, EngineModelState
from services.forecaster.plausible import problem_of
from shared.steptime import StepShape
from shared.telemetry import StepReport
from shared.wire import decode, encode

WIDEST = StepShape(batch_size=512, num_tokens=16_384, kv_tokens=4_000_000, attention_work=1e9, prefill_seqs=64)
NARROWEST = StepShape(batch_size=1, num_tokens=1)


@st.composite
def steps(draw: st.DrawFn, *, decode_only: bool = False) -> StepReport:
    decodes = draw(st.integers(1, 512))
    prefill_seqs = 0 if decode_only else draw(st.integers(0, 4))
    prefill_tokens = draw(st.integers(prefill_seqs, 8192)) if prefill_seqs else 0
    duration_ms = draw(st.floats(0.01, 10_000))
    return StepReport(
        step=draw(st.integers(0, 10**9)),
        start_s=0.0,
        batch_size=decodes + prefill_seqs,
        prefill_seqs=prefill_seqs,
        prefill_tokens=prefill_tokens,
        decode_tokens=decodes,
        kv_tokens=draw(st.integers(0, 4_000_000)),
        attention_work=draw(st.floats(0, 1e9)) if prefill_seqs else 0.0,
        planned_ms=50.0,
        predicted_ms=duration_ms,
        duration_ms=duration_ms,
        wall_ms=duration_ms,
    )


histories = st.one_of(
    st.lists(steps(), min_size=1, max_size=80), st.lists(steps(decode_only=True), min_size=1, max_size=80)
)


@settings(deadline=None, max_examples=60)
@given(histories, st.integers(1, 40))
def test_predictions_are_finite_and_positive_after_any_history(history, repeats):
    model = EngineModel("a")
    for report in history * repeats:
        seen = model.observe(report)
        assert seen is not None
        assert 0 < seen.predicted_s < math.inf
    forecast = model.forecast(0.0)
    for shape in (WIDEST, NARROWEST, *(report.shape for report in history)):
        assert 0 < float(forecast.step_model().step_time_s(shape)) < math.inf
    assert all(0 <= deviation < math.inf for deviation in forecast.uncertainty_ms.values())


@settings(deadline=None, max_examples=40)
@given(histories, histories)
def test_a_model_restored_from_its_state_goes_on_as_if_it_had_never_stopped(before, after):
    model = EngineModel("a")
    for report in before:
        model.observe(report)
    restored = EngineModel.restored(decode(encode(model.state), EngineModelState))
    assert restored.state == model.state
    assert [restored.observe(report) for report in after] == [model.observe(report) for report in after]
    assert restored.state == model.state
    close = msgspec.structs.replace(model.forecast(1.0), mape=None)
    assert msgspec.structs.replace(restored.forecast(1.0), mape=None) == close
    if model.mape is not None and restored.mape is not None:
        assert math.isclose(restored.mape, model.mape, rel_tol=1e-9)


tokens = st.one_of(st.integers(0, 300), st.integers(0, 10**8 - 1))
extreme_steps = st.builds(
    StepReport,
    step=st.integers(0, 10**9),
    start_s=st.just(0.0),
    batch_size=tokens,
    prefill_seqs=tokens,
    prefill_tokens=tokens,
    decode_tokens=tokens,
    kv_tokens=tokens,
    attention_work=st.floats(0, 1e13),
    planned_ms=st.just(0.0),
    predicted_ms=st.just(0.0),
    duration_ms=st.one_of(st.floats(1e-3, 1e6), st.floats(1, 100)),
    wall_ms=st.just(0.0),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(extreme_steps, max_size=30), st.integers(1, 20))
def test_no_plausible_report_breaks_a_model(history, repeats):
    model = EngineModel("a")
    for report in history * repeats:
        seen = model.observe(report)
        assert (seen is None) is (problem_of(report) is not None)
        if seen is not None:
            assert 0 < seen.predicted_s < math.inf
    assert decode(encode(model.state), EngineModelState) == model.state
    assert 0 < float(model.forecast(0.0).step_model().step_time_s(NARROWEST)) < math.inf
