"""What is foreseen for a request, against what the same arithmetic gives by hand."""

import math
from typing import Any

import pytest

from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from services.prism.foresee import foresee
from services.prism.prompt_size import Ask
from shared.forecast import ModelHealth
from shared.steptime import Residuals
from tests.step_models import step_model as law
from tests.unit.prism.builders import engine, step_model

ASK = Ask(prompt_tokens=1000, output_tokens=100)
NOISE = Residuals(deviation=math.log(1.5), upper=1.0)
FLAT = law(base=0.01, per_token=1e-4, decode_residuals=NOISE, mixed_residuals=NOISE)
"""10 ms a step and 0.1 ms a token: 400 prefill tokens fit in 50 ms."""


def _times(view: EngineView, ask: Ask = ASK, load: Load = Load()) -> tuple[float, float]:  # noqa: B008 - frozen
    foreseen = foresee([view], [load], ask, 0.0)
    return float(foreseen.ttft_s[0]), float(foreseen.tpot_s[0])


def test_on_an_idle_engine_a_prompt_takes_its_steps_and_no_more() -> None:
    ttft_s, tpot_s = _times(engine("a", model=FLAT))
    assert ttft_s == pytest.approx(3 * 0.01 + 1000 * 1e-4)  # chunks of at most 400: three steps
    assert tpot_s == pytest.approx(0.01 + 1e-4)


def test_a_prompt_waits_for_what_is_before_it() -> None:
    ttft_s, _ = _times(engine("a", model=FLAT, waiting_requests=2, waiting_prefill_tokens=3000))
    alone_s, _ = _times(engine("a", model=FLAT))
    assert ttft_s > alone_s + 3000 * 1e-4


def test_what_was_sent_and_is_not_seen_yet_counts_like_what_waits() -> None:
    waiting = _times(engine("a", waiting_requests=2, waiting_prefill_tokens=3000))
    pending = _times(engine("a"), load=Load(2, 2, 3000))
    assert pending == waiting


def test_decodes_slow_both_the_first_token_and_the_next() -> None:
    idle, busy = _times(engine("a")), _times(engine("a", decode_seqs=32, kv_tokens=32_000))
    assert busy[0] > idle[0]
    assert busy[1] > idle[1]


def test_a_step_limited_in_tokens_takes_more_steps() -> None:
    assert _times(engine("a", model=FLAT, step_tokens=100))[0] == pytest.approx(10 * 0.01 + 1000 * 1e-4)


def test_a_floor_of_prefill_runs_however_slow_the_engine_is() -> None:
    ttft_s, _ = _times(engine("a", model=step_model(base_s=1.0)))
    assert ttft_s > math.ceil(1000 / 16) * 1.0


@pytest.mark.parametrize(
    "full", [{"max_running": 8, "decode_seqs": 8}, {"kv_blocks_free": 10}, {"max_running": 8, "waiting_requests": 30}]
)
def test_without_a_slot_or_blocks_a_request_waits_for_answers_to_end(full: dict[str, Any]) -> None:
    roomy: dict[str, Any] = {key: value for key, value in full.items() if key == "decode_seqs"}
    assert _times(engine("a", **full))[0] > _times(engine("a", **roomy))[0] + 0.01


@pytest.mark.parametrize(
    ("news", "ratio"),
    [
        ({}, 1.0),
        ({"forecast_age_s": 5.0}, 1.0),
        ({"forecast_age_s": 32.5}, 1.25),
        ({"forecast_age_s": 60.0}, 1.5),
        ({"forecast_age_s": math.inf}, 1.5),
        ({"state_age_s": 2.0}, 1.25),
        ({"health": ModelHealth.DRIFTING}, 1.5),
        ({"health": ModelHealth.COLD, "forecast_age_s": math.inf}, 1.0),
    ],
)
def test_old_or_doubtful_news_is_read_towards_its_upper_quantile(news: dict[str, Any], ratio: float) -> None:
    fresh, other = _times(engine("a", model=FLAT)), _times(engine("a", model=FLAT, **news))
    assert other == pytest.approx((fresh[0] * ratio, fresh[1] * ratio))


def test_an_engine_says_nothing_about_another() -> None:
    views = [engine("a", decode_seqs=5), engine("b", model=step_model(base_s=0.03), waiting_prefill_tokens=900)]
    together = foresee(views, [Load(), Load()], ASK, 0.0)
    assert [(t, p) for t, p in zip(together.ttft_s, together.tpot_s, strict=True)] == [_times(view) for view in views]


def test_what_is_cached_need_not_be_computed_but_is_there_to_be_read() -> None:
    views = [engine("a", model=FLAT), engine("b", model=FLAT), engine("c", model=FLAT)]
    foreseen = foresee(views, [Load()] * 3, ASK, 0.0, cached_tokens=[0, 700, 5000])
    assert foreseen.ttft_s.tolist() == pytest.approx([3 * 0.01 + 0.1, 0.01 + 300 * 1e-4, 0.01 + 1e-4])
    reading = [engine("a"), engine("b")]
    tpot_s = foresee(reading, [Load()] * 2, ASK, 0.0, cached_tokens=[0, 900]).tpot_s
    assert tpot_s[0] == tpot_s[1]
