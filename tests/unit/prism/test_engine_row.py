"""An engine's row of numbers: from its state, its model and its forecast."""

import numpy as np
import pytest

from services.prism.engine_row import ROW, Rows, rows_of
from services.prism.fleet import EngineView
from services.prism.speeds import CHUNKS_TOKENS
from shared.forecast import ModelHealth
from shared.steptime import StepShape
from tests.unit.prism.builders import by_due, engine, step_model, waiting


def rows(*engines: EngineView) -> Rows:
    return rows_of([engine.row for engine in engines])


def test_every_number_is_where_its_name_says() -> None:
    busy = engine(
        "a",
        decode_seqs=3,
        prefill_seqs=1,
        kv_tokens=4000,
        max_running=40,
        step_tokens=512,
        least_prefill_tokens=32,
        step_target_ms=80.0,
        credit_ms=20.0,
        in_flight_ms=9.0,
        kv_blocks_free=77,
        kv_blocks_total=99,
        kv_block_tokens=8,
        arriving_per_s=2.5,
        arriving_tokens_per_s=by_due(640, interval=1),
        **waiting(2, 900, interval=3),
    )
    idle, found = rows(engine("idle"), busy)
    from_model = ("decode_s", "joined_s", "alone_s", "per_kv_token_s", "per_attention_work_s")
    assert ROW.names is not None
    assert {name: found[name] for name in ROW.names if found[name].shape == () and name not in from_model} == {
        "accepts": 1.0,
        "context_tokens": 792.0,
        "decodes": 3,
        "kv_tokens": 4000,
        "requests_ahead": 3,
        "max_running": 40,
        "step_tokens": 512,
        "least_tokens": 32,
        "step_target_s": 0.08,
        "credit_s": 0.02,
        "in_flight_s": 0.009,
        "blocks_free": 77,
        "blocks_total": 99,
        "block_tokens": 8,
        "arriving_per_s": 2.5,
        "announced_at_s": 0.0,
        "forecast_written_at_s": 0.0,
        "is_cold": 0.0,
        "is_drifting": 0.0,
        "upper_ratio": pytest.approx(1.2),
    }
    assert found["tokens_by_due"].tolist() == list(by_due(900, interval=3))
    assert found["requests_by_due"].tolist() == list(by_due(2, interval=3))
    assert found["arriving_tokens_per_s"].tolist() == list(by_due(640, interval=1))
    assert not idle["tokens_by_due"].any()


def test_cold_and_drifting_models_are_told_from_others() -> None:
    found = rows(*(engine(health.value, health=health) for health in ModelHealth))
    assert [tuple(flags) for flags in found[["is_cold", "is_drifting"]]] == [
        (health is ModelHealth.COLD, health is ModelHealth.DRIFTING) for health in ModelHealth
    ]


def test_an_engine_that_tells_nonsense_divides_nothing_by_zero() -> None:
    (found,) = rows(engine("a", max_running=0, kv_blocks_total=0, kv_block_tokens=0, least_prefill_tokens=0))
    assert [found[name] for name in ("max_running", "blocks_total", "block_tokens", "least_tokens")] == [1] * 4


def test_steps_take_what_the_step_model_says() -> None:
    model = step_model()
    (found,) = rows(engine("a", model=model, decode_seqs=20, kv_tokens=5000, **waiting(2, 900, interval=3)))
    # Of the two that wait, one is among the answers already.
    decode_s = model.step_time_s(StepShape(21, 21, 5000))
    assert found["decode_s"] == pytest.approx(decode_s)
    assert found["joined_s"] == pytest.approx(model.step_time_s(StepShape(22, 22, 5000 + 1024)))
    assert found["alone_s"] == pytest.approx(model.step_time_s(StepShape(23, 23, 5000 + 900)))
    assert found["per_kv_token_s"] == pytest.approx(1e-7)
    assert found["per_attention_work_s"] == pytest.approx(1e-9)
    mixed_s = [
        model.step_time_s(StepShape(22, 21 + tokens, 5000 + 512, tokens * max(1024, tokens) / 2, 1))
        for tokens in CHUNKS_TOKENS
    ]
    assert found["beside_s"] == pytest.approx(np.array(mixed_s) - decode_s)


def test_an_idle_engine_has_nobody_and_is_as_fast_as_it_can_be() -> None:
    busy = engine("a", decode_seqs=20, kv_tokens=5000, kv_blocks_free=7, credit_ms=5.0, **waiting(2, 900, interval=3))
    (idle,) = rows_of([busy.idle_row])
    (alone,) = rows(engine("a"))
    assert idle == alone
