from loadgen.engines import Engine, StepModelCard, engine_problems
from shared.forecast import ModelHealth

LEARNED = StepModelCard(ModelHealth.HEALTHY, 0.05, 200)
COLD = StepModelCard(ModelHealth.COLD, None, 2)
BARELY = StepModelCard(ModelHealth.WARMING, 0.4, 12)


def problems(required: int, served: set[str], **cards: StepModelCard) -> str:
    engines = [Engine(name, "cpu", card) for name, card in cards.items()]
    return "\n".join(engine_problems(engines, served, required))


def test_engines_that_served_and_were_learned_suffice() -> None:
    assert problems(2, {"large", "small"}, large=LEARNED, small=LEARNED) == ""


def test_an_engine_that_served_nothing_does_not_count() -> None:
    assert "engine small: it served no request" in problems(2, {"large"}, large=LEARNED, small=LEARNED)


def test_an_engine_that_is_cold_does_not_count() -> None:
    assert "engine small: its step model is cold" in problems(2, {"large", "small"}, large=LEARNED, small=COLD)


def test_a_handful_of_steps_is_not_learning() -> None:
    assert "12 steps" in problems(2, {"large", "small"}, large=LEARNED, small=BARELY)


def test_an_engine_that_is_gone_is_missed() -> None:
    assert "1 of the required 2" in problems(2, {"large", "small"}, large=LEARNED)


def test_nothing_is_wrong_where_nothing_is_required() -> None:
    assert problems(0, set(), small=COLD) == ""
