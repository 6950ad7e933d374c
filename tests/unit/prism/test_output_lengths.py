"""How long answers are is learned from those that ended; one that was cut says only that it was longer."""

import numpy as np
import pytest

from services.prism.output_lengths import LONGEST_TOKENS, TYPICAL, Lengths, OutputLengths

ANSWERS = 3000


def _learned(lengths: np.ndarray, limits: np.ndarray | None = None, client: str = "") -> Lengths:
    known = OutputLengths()
    for number, tokens in enumerate(lengths.tolist()):
        limit = LONGEST_TOKENS if limits is None else int(limits[number])
        known.learn("m", client, min(tokens, limit), cut=tokens > limit)
    return known.of("m", client)


def test_before_any_answer_they_are_like_those_of_chats() -> None:
    known = OutputLengths().of("m", "a")
    assert known is TYPICAL
    assert known.expected() == pytest.approx(200, rel=0.02)
    assert known.quantile(0.5) == pytest.approx(130, rel=0.02)
    assert known.quantile(0.9) == pytest.approx(430, rel=0.02)


def test_a_limit_bounds_what_is_expected() -> None:
    assert TYPICAL.expected(1) == 1.0
    assert TYPICAL.expected(16) == pytest.approx(16, abs=0.2)
    assert TYPICAL.expected(1000) == pytest.approx(195, abs=2)
    assert TYPICAL.expected(10**9) == TYPICAL.expected()


@pytest.mark.parametrize(("mean", "deviation"), [(3.0, 0.5), (5.0, 1.0), (7.5, 0.3)])
def test_what_is_expected_comes_to_be_the_mean_of_the_answers(mean: float, deviation: float) -> None:
    lengths = np.ceil(np.random.default_rng(1).lognormal(mean, deviation, ANSWERS)).astype(int)
    known = _learned(lengths)
    assert known.expected() == pytest.approx(lengths[-1000:].mean(), rel=0.1)
    assert known.expected(100) == pytest.approx(np.minimum(lengths, 100).mean(), rel=0.1)
    assert known.quantile(0.9) == pytest.approx(np.quantile(lengths, 0.9), rel=0.15)


def test_limits_do_not_make_answers_look_shorter() -> None:
    rng = np.random.default_rng(2)
    lengths = np.ceil(rng.lognormal(5.5, 0.6, ANSWERS)).astype(int)
    limits = rng.choice([64, 256, 512, 4096], ANSWERS)
    known = _learned(lengths, limits)
    assert known.expected() == pytest.approx(lengths.mean(), rel=0.1)
    assert np.minimum(lengths, limits).mean() < 0.8 * lengths.mean()  # what a mean of them would have said


def test_where_every_answer_is_cut_they_are_expected_to_go_on_to_their_limits() -> None:
    known = _learned(np.full(300, 1000), np.full(300, 50))
    assert known.expected(50) > 49
    assert known.expected(500) > 200  # beyond, as those of chats that get so far


def test_an_answer_that_runs_is_expected_to_go_on_as_those_did_that_got_so_far() -> None:
    rng = np.random.default_rng(3)
    lengths = np.where(rng.random(ANSWERS) < 0.5, rng.integers(5, 15, ANSWERS), rng.integers(900, 1100, ANSWERS))
    known = _learned(lengths)
    assert known.remaining(0) == pytest.approx(lengths.mean(), rel=0.1)
    assert known.remaining(100) == pytest.approx(900, rel=0.1)
    assert known.remaining(100, limit=300) == pytest.approx(200, rel=0.05)
    assert known.remaining(300, limit=300) == 0.0


def test_a_client_is_thought_to_be_like_its_models_others_until_it_is_known() -> None:
    known = OutputLengths()
    for _ in range(300):
        known.learn("m", "verbose", 800, cut=False)
        known.learn("m", "terse", 8, cut=False)
    known.learn("m", "new", 8, cut=False)
    assert known.of("m", "verbose").expected() == pytest.approx(800, rel=0.1)
    assert 8 <= known.of("m", "terse").expected() < 16
    assert known.of("m", "new").expected() == pytest.approx(known.of("m").expected(), rel=0.25)
    assert known.of("m", "never seen") is known.of("m")
    assert known.of("other", "verbose") is TYPICAL


def test_old_answers_are_forgotten() -> None:
    known = OutputLengths()
    for tokens in [1000] * 2000 + [20] * 4000:
        known.learn("m", "", tokens, cut=False)
    assert known.of("m").expected() < 60


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.prism.output_lengths.MOST_KEPT", 3)
    known = OutputLengths()
    for number in range(10):
        known.learn("m", f"c{number}", 8, cut=False)
    assert len(known._tallies) == 3
    assert known.of("m").expected() < 160


def test_an_answer_of_nothing_says_nothing() -> None:
    known = OutputLengths()
    known.learn("m", "", 0, cut=True)
    assert known.of("m") is TYPICAL
