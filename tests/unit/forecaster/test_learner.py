import numpy as np
import pytest

from services.forecaster.engine_model import Position
from services.forecaster.intake import Reading, Reason, SetAside
from services.forecaster.learner import Arrived, Learner
from services.forecaster.sharing import Lease
from shared.forecast import ModelHealth
from shared.telemetry import IdleReport, Outcome, Report, RequestReport, Telemetry
from tests.unit.forecaster.telemetry import decode_step, mixed_step

STREAM = "2026-01-01"
LEASE = Lease(3, 1)
REQUEST = RequestReport(
    request_id="r", slo_class="chat", outcome=Outcome.STOP, prompt_tokens=9, output_tokens=3, e2e_ms=99.0
)


def arrived(
    place: int,
    engine: str,
    sequence: int,
    *reports: Report,
    stream: str = STREAM,
    lease: Lease = LEASE,
    kind: str = "",
) -> Arrived:
    telemetry = Telemetry(engine=engine, lens="x", sequence=sequence, reports=reports, kind=kind)
    return Arrived(lease, Position(stream, place), engine, Reading(telemetry))


def learner(most_engines: int = 100, position: Position = Position("", 0)) -> Learner:  # noqa: B008 - frozen
    holder = Learner(most_engines)
    holder.take(LEASE, position, ())
    return holder


def positions(of: Learner) -> dict[str, Position]:
    return {model.engine: model.position for model in of.models}


def test_a_message_teaches_its_steps_and_passes_its_requests_on():
    holder = learner()
    lesson = holder.learn(arrived(1, "a", 1, mixed_step(1), REQUEST, IdleReport(idle_s=1.0), mixed_step(2)))
    assert lesson is not None
    assert (lesson.engine, lesson.is_news) == ("a", True)
    assert [seen.step for seen in lesson.observations] == [1, 2]
    assert lesson.requests == (REQUEST,)
    assert holder.held[3].models["a"].steps_learned == 2


def test_an_engine_starts_from_the_best_known_one_of_its_kind_as_soon_as_its_kind_is_told():
    holder = learner()
    steps = [mixed_step(number) for number in range(300)]
    holder.learn(arrived(1, "a", 1, *steps[:200], kind="H100 tiny"))
    holder.learn(arrived(2, "b", 1, *steps, kind="H100 tiny"))
    holder.learn(arrived(3, "c", 1, *steps[:250], kind="A40 tiny"))
    for place, (engine, kind) in enumerate((("d", ""), ("e", "A100 tiny"), ("f", "H100 tiny"), ("d", "H100 tiny")), 4):
        holder.learn(arrived(place, engine, place, IdleReport(idle_s=1.0), kind=kind))
    models = holder.held[3].models
    known = models["b"].forecast(0.0).coefficients_ms
    assert models["e"].health is ModelHealth.COLD
    for engine in ("d", "f"):
        assert models[engine].health is ModelHealth.WARMING
        assert models[engine].forecast(0.0).coefficients_ms == known


def test_a_message_learned_before_teaches_nothing():
    holder = learner()
    holder.learn(arrived(7, "a", 1, mixed_step(1)))
    assert holder.learn(arrived(7, "a", 1, mixed_step(1))) is None
    assert holder.held[3].models["a"].steps_learned == 1
    assert holder.messages_taken == 2
    assert not holder.duplicates


def test_a_message_that_lens_sent_twice_is_counted_and_teaches_nothing():
    holder = learner()
    holder.learn(arrived(7, "a", 1, mixed_step(1)))
    lesson = holder.learn(arrived(8, "a", 1, mixed_step(1)))
    assert lesson is not None
    assert not lesson.is_news
    assert holder.duplicates == {"a": 1}
    assert holder.held[3].models["a"].steps_learned == 1
    assert holder.held[3].position == Position(STREAM, 8)


def test_a_gap_in_the_numbers_of_a_lens_is_counted():
    holder = learner()
    holder.learn(arrived(7, "a", 1, mixed_step(1)))
    holder.learn(arrived(8, "a", 5, mixed_step(2)))
    assert holder.held[3].models["a"].messages_lost == 3
    assert holder.held[3].models["a"].steps_learned == 2


def test_a_message_of_a_lease_that_has_ended_is_dropped_and_counted():
    holder = learner()
    holder.renew(Lease(3, 2))
    assert holder.learn(arrived(1, "a", 1, mixed_step(1))) is None
    holder.drop(3)
    assert holder.learn(arrived(1, "a", 1, mixed_step(1), lease=Lease(3, 2))) is None
    assert holder.messages_fenced == 2
    assert not list(holder.models)


def test_a_renewed_lease_goes_on_from_memory():
    holder = learner()
    holder.learn(arrived(1, "a", 1, mixed_step(1)))
    holder.renew(Lease(3, 2))
    holder.learn(arrived(2, "a", 2, mixed_step(2), lease=Lease(3, 2)))
    assert holder.held[3].models["a"].steps_learned == 2


def test_engines_are_learned_apart():
    holder = learner()
    holder.learn(arrived(1, "a", 1, mixed_step(1)))
    holder.learn(arrived(2, "b", 1, mixed_step(1), mixed_step(2)))
    assert positions(holder) == {"a": Position(STREAM, 1), "b": Position(STREAM, 2)}
    assert {model.engine: model.steps_learned for model in holder.models} == {"a": 1, "b": 2}


def test_a_heartbeat_advances_the_position():
    holder = learner()
    holder.learn(arrived(3, "a", 1, IdleReport(idle_s=1.0)))
    assert positions(holder) == {"a": Position(STREAM, 3)}


def test_an_impossible_step_is_set_aside_and_the_rest_of_its_message_learned():
    holder = learner()
    lesson = holder.learn(arrived(1, "a", 1, decode_step(1, batch_size=1, duration_ms=-1.0), mixed_step(2)))
    assert lesson is not None
    assert [aside.reason for aside in lesson.set_aside] == [Reason.IMPOSSIBLE_STEP]
    assert "duration_ms is -1.0" in lesson.set_aside[0].problem
    assert b'"step":1,' in lesson.set_aside[0].data
    assert holder.held[3].models["a"].steps_learned == 1


def test_a_model_that_breaks_on_a_step_is_begun_anew_and_learns_the_next(monkeypatch):
    holder = learner()
    holder.learn(arrived(1, "a", 1, *map(mixed_step, range(20))))

    def broken(_step: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(holder.held[3].models["a"], "observe", broken)
    lesson = holder.learn(arrived(2, "a", 2, mixed_step(20), mixed_step(21)))
    assert lesson is not None
    assert [(aside.reason, aside.problem) for aside in lesson.set_aside] == [
        (Reason.BREAKING_STEP, "model begun anew: Singular matrix")
    ]
    assert [seen.step for seen in lesson.observations] == [21]
    assert holder.held[3].models["a"].steps_learned == 1
    assert positions(holder) == {"a": Position(STREAM, 2)}


def test_what_could_not_be_read_advances_the_position_and_is_passed_on():
    holder = learner()
    nothing = SetAside(Reason.UNREADABLE, "no JSON", b"x")
    lesson = holder.learn(Arrived(LEASE, Position(STREAM, 4), "a", Reading(None, (nothing,))))
    assert lesson is not None
    assert lesson.set_aside == (nothing,)
    assert holder.held[3].position == Position(STREAM, 4)
    assert not list(holder.models)


def test_engines_beyond_the_most_are_set_aside_and_those_known_go_on():
    holder = learner(most_engines=2)
    for place, engine in enumerate("abca", start=1):
        lesson = holder.learn(arrived(place, engine, place, mixed_step(place)))
        assert lesson is not None
        assert [aside.reason for aside in lesson.set_aside] == ([Reason.TOO_MANY_ENGINES] if engine == "c" else [])
    assert {model.engine: model.steps_learned for model in holder.models} == {"a": 2, "b": 1}


def test_a_stream_that_lost_its_end_rewinds_those_beyond_it_and_no_others():
    holder = learner()
    holder.learn(arrived(9, "c", 1, mixed_step(1), stream="older"))
    holder.learn(arrived(5, "a", 1, mixed_step(1)))
    holder.learn(arrived(9, "b", 1, mixed_step(1)))
    holder.rewind(3, Position(STREAM, 6))
    assert positions(holder) == {"a": Position(STREAM, 5), "b": Position(STREAM, 6), "c": Position("older", 9)}
    assert holder.held[3].position == Position(STREAM, 6)
    assert holder.learn(arrived(7, "b", 2, mixed_step(2))) is not None


def test_whoever_takes_over_goes_on_where_the_models_end():
    holder, successor = learner(), Learner(100)
    for place in range(1, 50):
        holder.learn(arrived(place, "a", place, mixed_step(place)))
    successor.take(LEASE, holder.held[3].position, holder.models)
    assert successor.learn(arrived(49, "a", 49, mixed_step(49))) is None
    lesson = successor.learn(arrived(50, "a", 50, mixed_step(50)))
    assert lesson is not None
    assert [seen.step for seen in lesson.observations] == [50]


def test_an_engine_ahead_of_its_partition_is_not_taken_for_one_that_sends_twice():
    """As where a neighbour's stored model could not be read, and the partition is learned from its start."""
    holder, successor = learner(), Learner(100)
    holder.learn(arrived(1, "a", 1, mixed_step(1)))
    successor.take(LEASE, Position("", 0), holder.models)
    lesson = successor.learn(arrived(1, "a", 1, mixed_step(1)))
    assert lesson is not None
    assert not lesson.is_news
    assert not successor.duplicates


@pytest.mark.parametrize("absurd", [2**53 - 1, 1_500_000])
def test_one_wrong_message_number_does_not_silence_the_engine(absurd):
    holder = learner()
    holder.learn(arrived(1, "a", 1, mixed_step(1)))
    lesson = holder.learn(arrived(2, "a", absurd, mixed_step(2)))
    assert lesson is not None
    assert [aside.reason for aside in lesson.set_aside] == [Reason.UNREADABLE]
    for place, number in ((3, 2), (4, 3)):
        lesson = holder.learn(arrived(place, "a", number, mixed_step(number)))
        assert lesson is not None
        assert lesson.is_news
    assert holder.held[3].models["a"].messages_lost == 0


@pytest.mark.parametrize(("first", "later"), [(1, 5_000_000), (5_000_000, 1)], ids=["away for long", "wrong at first"])
def test_a_second_message_beside_a_doubted_one_is_believed(first, later):
    holder = learner()
    holder.learn(arrived(1, "a", first, mixed_step(1)))
    lessons = [holder.learn(arrived(2 + more, "a", later + more, mixed_step(2 + more))) for more in range(3)]
    assert [lesson is not None and lesson.is_news for lesson in lessons] == [False, True, True]
    assert not holder.duplicates


def test_a_lease_granted_anew_of_a_partition_that_was_dropped_meanwhile_does_nothing():
    holder = learner()
    holder.drop(3)
    holder.renew(Lease(3, 2))
    assert not holder.held
