"""What is foreseen for a request, against what the same arithmetic gives by hand."""

import math
from typing import Any, NamedTuple

import msgspec
import pytest

from services.prism.dispatches import Load
from services.prism.engine_row import rows_of
from services.prism.fleet import EngineView
from services.prism.foresee import _asked_of, _own_pace_s, foresee
from services.prism.prompt_size import Ask
from shared.forecast import ModelHealth
from shared.pacing import PACED_AT, pace_s
from shared.slo import Slo
from shared.steptime import Residuals
from tests.step_models import step_model as law
from tests.unit.prism.builders import by_due, engine, pending, step_model, waiting

ASK = Ask(prompt_tokens=1000, output_tokens=100)
PROMPT = Ask(prompt_tokens=1000, output_tokens=1)
NO_TARGETS, ALONE = Slo(), Load()
NOISE = Residuals(deviation=math.log(1.5), upper=1.0)
FLAT = law(base=0.01, per_token=1e-4, decode_residuals=NOISE, mixed_residuals=NOISE)
"""10 ms a step and 0.1 ms a token: beside answers that take 10 ms, 400 prompt tokens fit in 50 ms, 8,000 in a second."""
ANSWERS: dict[str, Any] = {"decode_seqs": 1, "step_target_ms": 50.0}
"""One, which costs a token: steps of 50 ms have 399 prompt tokens."""
RATE = 399 / 0.05


class Seen(NamedTuple):
    """Of one engine."""

    ttft_s: float
    tpot_s: float
    p_met: float
    others_broken: float
    delay_s: float
    backlog_s: float
    arriving_per_s: float
    pressure: float
    ttft_factor: float
    tpot_factor: float


def seen(view: EngineView, ask: Ask = ASK, slo: Slo = NO_TARGETS, load: Load = ALONE) -> Seen:
    return Seen(
        *(float(values[0]) for values in foresee(rows_of([view.row]), load.pending.as_array[None], ask, slo, 0.0))
    )


def flat(**changes: Any) -> EngineView:
    return engine("a", model=FLAT, **changes)


def test_on_an_idle_engine_a_prompt_takes_one_step_if_it_fits_and_more_if_it_does_not() -> None:
    assert seen(flat()).ttft_s == pytest.approx(0.01 + 1000 * 1e-4, rel=0.01)
    assert seen(flat(), Ask(prompt_tokens=1, output_tokens=1)).ttft_s == pytest.approx(0.01, rel=0.02)
    assert seen(flat(step_tokens=100)).ttft_s == pytest.approx(10 * 0.01 + 1000 * 1e-4, rel=0.02)


def test_an_answer_alone_takes_a_step_a_token() -> None:
    assert seen(flat()).tpot_s == pytest.approx(0.01 + 1e-4)


def test_beside_answers_a_prompt_is_computed_at_the_rate_that_their_pace_leaves() -> None:
    assert seen(flat(**ANSWERS)).ttft_s == pytest.approx(1000 / RATE, rel=0.01)


def test_answers_that_are_ahead_of_their_targets_lend_the_time() -> None:
    late_s, ahead_s = seen(flat(**ANSWERS)).ttft_s, seen(flat(**ANSWERS, credit_ms=60.0)).ttft_s
    assert late_s - ahead_s == pytest.approx(0.06 * 0.01 / 0.04, rel=0.02)  # an answer's share of so many steps
    assert seen(flat(**ANSWERS, credit_ms=1e6)).ttft_s == pytest.approx(0.01 + 1000 * 1e-4, rel=0.01)  # it takes a step


def test_a_prompt_waits_for_steps_on_their_way() -> None:
    assert seen(flat(in_flight_ms=70.0)).ttft_s == pytest.approx(seen(flat()).ttft_s + 0.07)


@pytest.mark.parametrize(
    ("interval", "ttft_s", "share"),
    [
        (0, 0.75, 1.0),
        (1, 0.75, 1.0),
        (2, 0.75, 0.5),  # due between 0.5 and 1 s: half before 0.75 s
        (3, 0.75, 0.0),
        (7, 0.75, 0.0),
        (5, None, 1.0),  # a request without targets is wanted within 10 s
        (7, None, 0.0),
    ],
)
def test_a_prompt_waits_for_what_is_due_before_it_and_for_nothing_else(
    interval: int, ttft_s: float | None, share: float
) -> None:
    slo = Slo(ttft_s=ttft_s)
    behind_s = (
        seen(flat(**ANSWERS, **waiting(1, 1600, interval)), slo=slo).ttft_s - seen(flat(**ANSWERS), slo=slo).ttft_s
    )
    assert behind_s == pytest.approx(share * 1600 / RATE, abs=0.005)


def test_what_cannot_be_on_time_any_more_goes_behind() -> None:
    crowded = flat(**ANSWERS, **waiting(9, 90_000))
    assert seen(crowded, slo=Slo(ttft_s=1.0)).ttft_s == pytest.approx(0.25 + 1000 / RATE, rel=0.02)
    late = flat(**ANSWERS, waiting_requests=9, waiting_prefill_tokens=90_000)
    assert seen(late, slo=Slo(ttft_s=1.0)).ttft_s < 0.2


def test_what_was_sent_and_is_not_seen_yet_counts_like_what_waits() -> None:
    there = seen(flat(**waiting(2, 3000, interval=3)))
    assert seen(flat(), load=Load(2, pending(2, 3000, interval=3))) == pytest.approx(there, rel=0.02)


def test_since_its_state_was_written_an_engine_has_worked_on_what_waits() -> None:
    behind_s = [seen(flat(**ANSWERS, **waiting(2, 3000), state_age_s=age_s)).ttft_s for age_s in (0.0, 0.1, 0.9)]
    assert behind_s[0] - behind_s[1] == pytest.approx(0.1)
    assert behind_s[2] == pytest.approx(seen(flat(**ANSWERS)).ttft_s, rel=0.01)


def test_chances_count_on_none_of_that_so_that_engines_do_not_come_to_look_alike() -> None:
    hurried = Slo(ttft_s=0.3)
    fresh, late = (seen(flat(**ANSWERS, **waiting(2, 3000), state_age_s=age_s), slo=hurried) for age_s in (0.0, 0.9))
    without = seen(flat(**ANSWERS, state_age_s=0.9), slo=hurried)
    assert late.ttft_s == pytest.approx(without.ttft_s, rel=0.01)
    assert (fresh.ttft_s > 0.3, fresh.p_met < 0.2) == (True, True)
    assert late.p_met < 0.5 < without.p_met  # it is less sure than the first, and still no more probable than not


def test_what_comes_and_is_due_earlier_takes_its_share_of_the_time() -> None:
    slo = Slo(ttft_s=1.0)
    hurried = flat(**ANSWERS, arriving_tokens_per_s=by_due(4000, interval=0))  # due in 0.125 s: for 7/8 of the second
    assert seen(hurried, slo=slo).ttft_s == pytest.approx(1000 / RATE / (1 - 7 / 8 * 4000 / RATE), rel=0.01)
    patient = flat(**ANSWERS, arriving_tokens_per_s=by_due(4000, interval=5))
    assert seen(patient, slo=slo).ttft_s == seen(flat(**ANSWERS), slo=slo).ttft_s


def test_while_prompts_wait_answers_come_at_the_pace_that_was_promised() -> None:
    slo = Slo(ttft_s=0.2, tpot_s=0.04)
    assert seen(flat(**ANSWERS), slo=slo).tpot_s == pytest.approx(0.01, rel=0.05)
    crowded = flat(**ANSWERS, **waiting(9, 90_000, interval=6))
    assert seen(crowded, slo=slo).tpot_s == pytest.approx(PACED_AT * 0.04)
    assert seen(crowded, slo=Slo(ttft_s=0.2)).tpot_s == pytest.approx(0.05)  # that of the answer there


def test_decodes_slow_both_the_first_token_and_the_next() -> None:
    idle, busy = seen(engine("a")), seen(engine("a", decode_seqs=32, kv_tokens=32_000))
    assert busy.ttft_s > idle.ttft_s
    assert busy.tpot_s > idle.tpot_s


def test_a_floor_of_prefill_runs_however_slow_the_answers_are() -> None:
    slow = engine("a", model=step_model(base_s=1.0), decode_seqs=1)
    assert seen(slow).ttft_s == pytest.approx(1000 / 16, rel=0.01)


@pytest.mark.parametrize(
    "full",
    [
        {"max_running": 8, "decode_seqs": 8},
        {"kv_blocks_free": 10},
        {"max_running": 8, "waiting_requests": 30},
    ],
)
def test_without_a_slot_or_blocks_a_request_waits_for_answers_to_end(full: dict[str, Any]) -> None:
    roomy: dict[str, Any] = {key: value for key, value in full.items() if key == "decode_seqs"}
    assert seen(engine("a", **full)).ttft_s > seen(engine("a", **roomy)).ttft_s + 0.01


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
    fresh, other = seen(flat()), seen(flat(**news))
    assert (other.ttft_s, other.tpot_s) == pytest.approx((fresh.ttft_s * ratio, fresh.tpot_s * ratio))


def test_a_target_met_just_so_is_as_probable_as_not() -> None:
    ttft_s, tpot_s, *_ = seen(flat())
    assert seen(flat(), slo=Slo(ttft_s=ttft_s)).p_met == pytest.approx(0.5)
    assert seen(flat(), slo=Slo(ttft_s=2 * ttft_s)).p_met > 0.99
    assert seen(flat(), slo=Slo(ttft_s=ttft_s / 2)).p_met < 0.01
    assert seen(flat(), slo=Slo(tpot_s=tpot_s)).p_met == pytest.approx(0.5, abs=0.01)
    assert seen(flat(), slo=Slo(ttft_s=ttft_s, tpot_s=tpot_s)).p_met == pytest.approx(0.25, abs=0.01)
    assert seen(flat(), slo=Slo(e2e_s=ttft_s + 99 * tpot_s)).p_met == pytest.approx(0.5)


def test_an_e2e_target_is_broken_by_answers_alone_since_lens_paces_an_answer_to_end_in_time() -> None:
    behind_others = flat(decode_seqs=1, step_target_ms=200.0, **waiting(20, 200_000, interval=7))
    found = seen(behind_others)
    slow = seen(behind_others, slo=Slo(e2e_s=found.ttft_s + 99 * 0.02))
    assert found.tpot_s > 0.05
    assert slow.p_met > 0.9


def test_an_answer_that_goes_on_beyond_what_lens_takes_for_likely_ends_late_for_being_paced_too_slowly() -> None:
    busy = flat(decode_seqs=1, step_target_ms=200.0, **waiting(20, 200_000, interval=7))
    long = Ask(prompt_tokens=1000, output_tokens=1500, most_output_tokens=1500)
    slo = Slo(e2e_s=20.0)
    assert seen(busy, long, slo).p_met < 0.1
    assert seen(busy, msgspec.structs.replace(long, ignores_end=True), slo).p_met > 0.5


def test_an_answer_of_one_token_with_an_e2e_target_slows_nobody_down() -> None:
    slo = Slo(e2e_s=5.0)
    one = Ask(prompt_tokens=1000, output_tokens=1, most_output_tokens=1)
    idle = seen(flat(), one, slo)
    assert idle.delay_s == pytest.approx(seen(flat(), one, Slo(ttft_s=5.0)).delay_s, rel=0.01)
    assert idle.p_met > 0.99


def test_without_targets_nothing_can_be_missed_nor_a_pace_by_an_answer_of_one_token() -> None:
    assert seen(flat()).p_met == 1.0
    assert seen(flat(), PROMPT, slo=Slo(tpot_s=1e-6)).p_met == 1.0


def test_the_older_the_state_the_less_is_certain() -> None:
    slo = Slo(ttft_s=0.25)
    assert 0.5 < seen(flat(**ANSWERS, state_age_s=0.9), slo=slo).p_met < seen(flat(**ANSWERS), slo=slo).p_met
    assert seen(flat(state_age_s=0.9), slo=slo).p_met > 0.99  # nobody is there: it has nothing to tell


def test_promises_are_broken_that_would_have_been_kept_without_the_request() -> None:
    hurried, tight = Slo(ttft_s=0.2), waiting(4, 1900)  # due within 0.25 s, in which 1,995 tokens can be computed
    assert seen(flat(**ANSWERS, **tight), slo=hurried).others_broken > 1.0
    assert seen(flat(**ANSWERS, **tight), slo=Slo(ttft_s=10.0)).others_broken == pytest.approx(0.0)  # it gives way
    assert seen(flat(**ANSWERS, **waiting(4, 100)), slo=hurried).others_broken == pytest.approx(0.0)  # there is time
    assert seen(flat(**ANSWERS), slo=hurried).others_broken == 0.0


def test_what_comes_later_waits_for_the_prompt_and_for_the_answers_share_of_every_step() -> None:
    quiet = seen(flat(**ANSWERS), PROMPT)
    assert quiet.delay_s == pytest.approx(1000 / RATE, rel=0.02)
    busy = flat(**ANSWERS, arriving_tokens_per_s=by_due(2000), arriving_per_s=3.0)
    assert seen(busy, PROMPT).arriving_per_s == 3.0
    assert seen(busy, ASK, slo=Slo(tpot_s=0.02)).delay_s > 2 * quiet.delay_s  # steps of 20 ms are for answers mostly


@pytest.mark.parametrize(
    ("load", "pressure"),
    [
        ({}, 0.0),
        ({"arriving_tokens_per_s": by_due(4000, interval=3)}, 0.5),
        (waiting(2, 4000, interval=2), 0.5),  # due within a second
        (waiting(2, 16_000, interval=5), 0.25),
        (waiting(9, 90_000, interval=2), 1.0),
    ],
)
def test_pressure_is_the_share_of_its_time_that_an_engine_needs(load: dict[str, Any], pressure: float) -> None:
    assert seen(flat(**ANSWERS, **load)).pressure == pytest.approx(pressure, abs=0.01)


def test_the_backlog_is_what_waits_and_can_be_on_time() -> None:
    assert seen(flat(**ANSWERS, **waiting(2, 4000, interval=2))).backlog_s == pytest.approx(4000 / RATE, rel=0.01)
    assert seen(flat(**ANSWERS, **waiting(9, 90_000, interval=2))).backlog_s == pytest.approx(1.0)


def test_an_engine_says_nothing_about_another() -> None:
    views = [engine("a", decode_seqs=5), engine("b", model=step_model(base_s=0.03), **waiting(1, 900))]
    together = foresee(rows_of([view.row for view in views]), None, ASK, NO_TARGETS, 0.0)
    apart = [seen(view) for view in views]
    assert [Seen(*map(float, values)) for values in zip(*together, strict=True)] == apart


def test_what_is_cached_need_not_be_computed_but_is_there_to_be_read() -> None:
    views = [flat(), flat(), flat()]
    foreseen = foresee(rows_of([view.row for view in views]), None, ASK, NO_TARGETS, 0.0, cached_tokens=[0, 700, 5000])
    assert foreseen.ttft_s.tolist() == pytest.approx([0.01 + 0.1, 0.01 + 300 * 1e-4, 0.01 + 1e-4], rel=0.01)
    reading = [engine("a"), engine("b")]
    tpot_s = foresee(rows_of([view.row for view in reading]), None, ASK, NO_TARGETS, 0.0, cached_tokens=[0, 900]).tpot_s
    assert tpot_s[0] == tpot_s[1]


def test_what_is_on_its_way_counts_as_what_waits() -> None:
    there = engine("a", decode_seqs=1, **waiting(3, 950, interval=3))
    on_its_way = engine("a", decode_seqs=1, **waiting(2, 900, interval=3))
    counted, shown = seen(on_its_way, load=Load(pending=pending(1, 50, interval=3))), seen(there)
    # Of those that wait an engine's speeds know more than of those that are on their way.
    assert counted == pytest.approx(shown, rel=0.02)
    assert seen(on_its_way).ttft_s < counted.ttft_s


@pytest.mark.parametrize(
    "slo",
    [Slo(), Slo(tpot_s=0.1), Slo(e2e_s=20.0), Slo(e2e_s=20.0, tpot_s=0.03), Slo(e2e_s=20.0, tpot_s=0.3)],
)
@pytest.mark.parametrize("limit", [1, 101, 5000])
@pytest.mark.parametrize("ttft_s", [0.3, 15.0, 25.0])
def test_an_answer_is_foreseen_at_the_pace_that_lens_will_give_it(slo: Slo, limit: int, ttft_s: float) -> None:
    ask = Ask(prompt_tokens=1000, output_tokens=100, most_output_tokens=limit)
    assert _own_pace_s(_asked_of(ask, slo, 0.0), ttft_s, 0.0) == pytest.approx(pace_s(slo, ask.likely_tokens, ttft_s))
