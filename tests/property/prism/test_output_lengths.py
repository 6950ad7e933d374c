"""Whatever answers were learned from, what is expected is possible, and a longer limit never makes it less."""

from hypothesis import given
from hypothesis import strategies as st

from services.prism.output_lengths import LONGEST_TOKENS, Lengths, OutputLengths

tokens = st.integers(1, 300) | st.integers(1, 2 * LONGEST_TOKENS)
answers = st.lists(st.tuples(tokens, st.booleans()), max_size=40)


def _learned(answers: list[tuple[int, bool]]) -> Lengths:
    known = OutputLengths()
    for length, cut in answers:
        known.learn("m", "a", length, cut=cut)
    return known.of("m", "a")


@given(answers, tokens, tokens)
def test_an_answer_is_expected_to_have_a_token_at_least_and_its_limit_at_most(
    answers: list[tuple[int, bool]], limit: int, other: int
) -> None:
    known = _learned(answers)
    short, long = sorted((limit, other))
    assert 1.0 <= known.expected(short) <= short
    assert known.expected(short) <= known.expected(long) * (1 + 1e-9)


@given(answers, tokens, tokens)
def test_what_remains_is_a_token_at_least_and_what_the_limit_leaves_at_most(
    answers: list[tuple[int, bool]], run: int, limit: int
) -> None:
    remaining = _learned(answers).remaining(run, limit)
    assert remaining == 0.0 if run >= limit else 1.0 <= remaining <= limit - run


@given(answers, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_in_order(answers: list[tuple[int, bool]], share: float, other: float) -> None:
    known = _learned(answers)
    low, high = sorted((share, other))
    assert 0.0 <= known.quantile(low) <= known.quantile(high) <= LONGEST_TOKENS


@given(answers, tokens)
def test_an_answer_that_was_cut_never_makes_less_expected_up_to_its_cut(
    answers: list[tuple[int, bool]], cut_at: int
) -> None:
    before, after = _learned(answers), _learned([*answers, (cut_at, True)])
    assert after.expected(cut_at) >= before.expected(cut_at) * (1 - 1e-2)
