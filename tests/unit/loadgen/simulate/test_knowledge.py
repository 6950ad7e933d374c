"""What is known of an engine, and when."""

import pytest

from loadgen.simulate.hardware import Law, LawTimes, Speed
from loadgen.simulate.knowledge import Given, Learned, Misjudged
from shared.forecast import ModelHealth
from shared.steptime import PRIOR, StepShape
from shared.telemetry import StepReport


def report(step: int, duration_ms: float = 12.0) -> StepReport:
    return StepReport(
        step=step,
        start_s=0.0,
        batch_size=2,
        prefill_seqs=0,
        prefill_tokens=0,
        decode_tokens=2,
        kv_tokens=100,
        attention_work=0.0,
        planned_ms=0.0,
        predicted_ms=0.0,
        duration_ms=duration_ms,
        wall_ms=duration_ms,
    )


def test_steps_are_learned_when_their_telemetry_is_through():
    learned = Learned("a", delay_s=0.5)
    for step in range(20):
        learned.tell(report(step), 1.0)
    assert learned.read(1.49).steps_learned == 0
    known = learned.read(1.5)
    assert (known.steps_learned, known.written_at_s, known.health) == (20, 1.5, ModelHealth.WARMING)
    assert known.model.step_time_s(StepShape(2, 2, 100)) == pytest.approx(0.012, rel=1e-2)


def test_nothing_known_is_the_prior():
    known = Learned("a", delay_s=0.0).read(9.0)
    assert (known.model, known.health) == (PRIOR, ModelHealth.COLD)


def test_forecasts_are_written_no_oftener_than_the_forecaster_does():
    learned = Learned("a", delay_s=0.0)
    learned.tell(report(1), 1.0)
    assert learned.read(1.0).steps_learned == 1
    learned.tell(report(2), 1.001)
    assert learned.read(1.01).steps_learned == 1
    assert learned.read(1.03).steps_learned == 2


def test_who_is_given_the_truth_knows_of_a_slow_engine_but_its_data_sheet_does_not():
    speed = Speed(LawTimes(Law(10.0, 0.0, 0.1, 0.0), seed=0))
    given = Given(speed, 5000.0)
    speed.slowness = 2.0
    known = given.read(0.0)
    assert known.model.step_time_s(StepShape(1, 100)) == 0.04
    assert known.capacity_tokens_per_s == 5000.0


def test_who_misjudges_takes_steps_for_so_many_times_what_was_learned():
    learned, told = Learned("a", delay_s=0.0), Misjudged(Learned("a", delay_s=0.0), 1.2)
    assert told.read(0.5) == learned.read(0.5)  # nothing is wrong with what nobody knows
    for step in range(20):
        learned.tell(report(step), 1.0)
        told.tell(report(step), 1.0)
    right, wrong = learned.read(1.0), told.read(1.0)
    shapes = StepShape(2, 2, 100), StepShape(3, 700, 100, 9e4, 1)
    for shape in shapes:
        assert wrong.model.step_time_s(shape) == pytest.approx(1.2 * float(right.model.step_time_s(shape)))
        assert wrong.model.interval(shape) == pytest.approx([1.2 * each for each in right.model.interval(shape)])
    assert wrong._replace(model=right.model) == right
    assert told.read(1.0) is wrong  # readers know by that that nothing is new
