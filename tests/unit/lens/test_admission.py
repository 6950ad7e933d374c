import pytest

from services.lens.admission import check_length, check_model, check_queue, output_limit_tokens
from shared.errors import ApiError, BadRequest, NotFound, Overloaded
from tests.unit.lens.builders import engine_info

INFO = engine_info()  # a context of 128 tokens


def test_another_model_is_not_found_by_name():
    with pytest.raises(NotFound, match="'other'") as error:
        check_model("other", "m")
    assert (error.value.param, error.value.code) == ("model", "model_not_found")


def test_a_full_queue_says_when_to_come_back():
    with pytest.raises(Overloaded) as error:
        check_queue(8, 8)
    assert error.value.headers["retry-after"] == "1"


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
