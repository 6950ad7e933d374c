import math

import pytest

from services.lens.admission import (
    LEAST_QUEUE_WAIT_S,
    MOST_QUEUE_WAIT_S,
    check_length,
    check_model,
    check_queue,
    output_limit_tokens,
    queue_wait_s,
)
from services.lens.load import Load
from services.lens.plan import PlanLimits
from shared.errors import ApiError, BadRequest, NotFound, Overloaded
from tests.unit.lens.builders import engine_info, model

INFO = engine_info()  # a context of 128 tokens


def test_another_model_is_not_found_by_name():
    with pytest.raises(NotFound, match="'other'") as error:
        check_model("other", "m")
    assert (error.value.param, error.value.code) == ("model", "model_not_found")


def test_a_full_queue_says_so_and_when_to_come_back():
    with pytest.raises(Overloaded, match="8 requests are waiting, and at most 8 may") as error:
        check_queue(8, 8, lambda: 1.2344)
    assert error.value.code == "queue_full"
    assert error.value.headers == {"retry-after": "2", "retry-after-ms": "1235"}


def test_a_queue_with_room_is_not_asked_when_there_will_be():
    check_queue(7, 8, lambda: pytest.fail("asked"))


def load(waiting_prefill_tokens: int, decode_seqs: int = 0) -> Load:
    return Load(
        decode_seqs=decode_seqs,
        prefill_seqs=0,
        kv_tokens=0,
        kv_blocks_free=0,
        waiting_requests=8,
        waiting_prefill_tokens=waiting_prefill_tokens,
        prefill_tokens_by_due=(),
        prefills_by_due=(),
        arriving_tokens_per_s=(),
        arriving_per_s=0.0,
        pace_s=math.inf,
        credit_s=0.0,
        in_flight_s=0.0,
    )


STEPS_OF_100_TOKENS = PlanLimits(max_step_tokens=100, least_prefill_tokens=1, target_s=10.0)


def test_a_queue_empties_at_the_rate_of_the_largest_steps():
    step_s = 0.01 + 100 * 0.001
    assert queue_wait_s(load(500), model(0.01, 0.001), STEPS_OF_100_TOKENS) == pytest.approx(5 * step_s)


def test_a_step_target_makes_steps_smaller_and_the_wait_longer():
    tight = STEPS_OF_100_TOKENS._replace(target_s=0.06)  # room for 50 tokens
    assert queue_wait_s(load(500), model(0.01, 0.001), tight) == pytest.approx(10 * 0.06, rel=0.05)


def test_answers_that_run_take_their_share_of_each_step():
    step_s = 0.01 + 100 * 0.001
    busy = queue_wait_s(load(500, decode_seqs=50), model(0.01, 0.001), STEPS_OF_100_TOKENS)
    assert busy == pytest.approx(10 * step_s)


@pytest.mark.parametrize(("decodes", "waiting_tokens"), [(0, 0), (0, 1), (100, 5)])
def test_nobody_is_told_to_come_back_at_once(decodes, waiting_tokens):
    wait_s = queue_wait_s(load(waiting_tokens, decodes), model(0.01, 0.001), STEPS_OF_100_TOKENS)
    assert wait_s == LEAST_QUEUE_WAIT_S


def test_nobody_is_told_to_stay_away_for_long():
    assert queue_wait_s(load(10**9), model(0.01, 0.001), STEPS_OF_100_TOKENS) == MOST_QUEUE_WAIT_S


@pytest.mark.parametrize(("requested", "granted"), [(None, 118), (5, 5), (118, 118)])
def test_an_answer_may_take_what_the_context_leaves(requested, granted):
    assert output_limit_tokens(tuple(range(10)), requested, INFO, "prompt") == granted


@pytest.mark.parametrize(
    ("prompt_ids", "requested", "param"),
    [
        ((), 1, "prompt"),
        ((1,) * 128, None, "prompt"),
        ((1,) * 10, 119, "max_tokens"),
        ((1,), 10**30, "max_tokens"),
        ((257,), 1, "prompt"),
        ((-1,), 1, "prompt"),
    ],
)
def test_what_cannot_be_run_is_refused_by_field(prompt_ids, requested, param):
    with pytest.raises(BadRequest) as error:
        output_limit_tokens(prompt_ids, requested, INFO, "prompt")
    assert error.value.param == param


def test_the_cache_bounds_the_context():
    small = engine_info(blocks=2, block_tokens=4)
    with pytest.raises(ApiError, match="holds 8 tokens"):
        output_limit_tokens((1, 2), 7, small, "prompt")


def test_a_text_too_long_whatever_its_tokens_is_refused_before_they_are_counted():
    check_length(127, INFO, "prompt")
    with pytest.raises(BadRequest, match="over 128 tokens"):
        check_length(128, INFO, "prompt")
