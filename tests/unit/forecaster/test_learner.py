from services.forecaster.engine_model import Position
from services.forecaster.learner import Learner, Pulled
from shared.telemetry import IdleReport, Outcome, Report, RequestReport, Telemetry
from tests.unit.forecaster.telemetry import decode_step, mixed_step

STREAM = "2026-01-01"
REQUEST = RequestReport(
    request_id="r", slo_class="chat", outcome=Outcome.STOP, prompt_tokens=9, output_tokens=3, e2e_ms=99.0
)


def pulled(place: int, engine: str, sequence: int, *reports: Report, stream: str = STREAM) -> Pulled:
    return Pulled(Position(stream, place), Telemetry(engine=engine, lens="x", sequence=sequence, reports=reports))


def test_a_message_teaches_its_steps_and_passes_its_requests_on():
    learner = Learner()
    lesson = learner.learn(pulled(1, "a", 1, mixed_step(1), REQUEST, IdleReport(idle_s=1.0), mixed_step(2)))
    assert lesson is not None
    assert lesson.engine == "a"
    assert [seen.step for seen in lesson.observations] == [1, 2]
    assert lesson.requests == (REQUEST,)
    assert learner.models["a"].steps_learned == 2


def test_a_message_learned_before_teaches_nothing():
    learner = Learner()
    learner.learn(pulled(7, "a", 1, mixed_step(1)))
    assert learner.learn(pulled(7, "a", 1, mixed_step(1))) is None
    assert learner.models["a"].steps_learned == 1
    assert learner.messages_taken == 2


def test_engines_are_learned_apart():
    learner = Learner()
    learner.learn(pulled(1, "a", 1, mixed_step(1)))
    learner.learn(pulled(2, "b", 1, mixed_step(1), mixed_step(2)))
    assert learner.positions == {"a": Position(STREAM, 1), "b": Position(STREAM, 2)}
    assert [learner.models[engine].steps_learned for engine in "ab"] == [1, 2]


def test_a_heartbeat_advances_the_position():
    learner = Learner()
    learner.learn(pulled(3, "a", 1, IdleReport(idle_s=1.0)))
    assert learner.positions == {"a": Position(STREAM, 3)}


def test_impossible_steps_are_counted():
    learner = Learner()
    learner.learn(pulled(1, "a", 1, decode_step(1, batch_size=1, duration_ms=-1.0), mixed_step(2)))
    assert learner.steps_ignored == 1
    assert learner.models["a"].steps_learned == 1


def test_a_stream_that_lost_its_end_rewinds_those_beyond_it_and_no_others():
    learner = Learner()
    learner.learn(pulled(5, "a", 1, mixed_step(1)))
    learner.learn(pulled(9, "b", 1, mixed_step(1)))
    learner.learn(pulled(9, "c", 1, mixed_step(1), stream="older"))
    learner.rewind(Position(STREAM, 6))
    assert learner.positions == {"a": Position(STREAM, 5), "b": Position(STREAM, 6), "c": Position("older", 9)}
    assert learner.learn(pulled(7, "b", 2, mixed_step(2))) is not None


def test_a_restored_learner_goes_on_where_the_states_end():
    learner, successor = Learner(), Learner()
    for place in range(1, 50):
        learner.learn(pulled(place, "a", place, mixed_step(place)))
    successor.restore(model.state for model in learner.models.values())
    assert successor.positions == learner.positions
    assert successor.learn(pulled(49, "a", 49, mixed_step(49))) is None
    assert successor.learn(pulled(50, "a", 50, mixed_step(50))) == learner.learn(pulled(50, "a", 50, mixed_step(50)))
