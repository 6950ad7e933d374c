import msgspec
import numpy as np

from loadgen.evaluation.prequential import foresee
from shared.steptime import Interval, Number, StepShape
from tests.unit.loadgen.evaluation.steps import a_step


class StepsLearned(msgspec.Struct, frozen=True):
    """Foresees as many seconds as it has learned steps."""

    count: int

    def step_time_s(self, _shape: StepShape) -> Number:
        return float(self.count)


class Recorder:
    """Writes down what it is asked and told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Number]] = []
        self.learned: list[tuple[float, float]] = []

    def predict(self, shape: StepShape) -> Interval:
        self.calls.append(("predict", shape.batch_size))
        return Interval(float(len(self.learned)), 0.5, 2.0)

    def learn(self, shape: StepShape, actual_s: float, at_s: float) -> None:
        self.calls.append(("learn", shape.batch_size))
        self.learned.append((actual_s, at_s))

    def published(self) -> StepsLearned:
        return StepsLearned(len(self.learned))


def test_every_step_is_predicted_before_it_is_learned() -> None:
    recorder, steps = Recorder(), [a_step(number) for number in range(5)]
    foreseen = foresee(recorder, steps)
    assert recorder.calls == [(verb, number) for number in range(1, 6) for verb in ("predict", "learn")]
    assert recorder.learned == [(step.duration_s, step.at_s) for step in steps]
    assert foreseen.expected_s.tolist() == [0, 1, 2, 3, 4]
    assert (foreseen.lower_s[0], foreseen.upper_s[0], foreseen.actual_s[0]) == (0.5, 2.0, 0.02)
    assert not foreseen.mixed.any()


def test_ahead_a_step_is_foreseen_by_the_model_of_fifty_steps_before() -> None:
    ahead_s = foresee(Recorder(), [a_step(number) for number in range(60)]).ahead_s
    assert np.isnan(ahead_s[:51]).all()
    # Step 51 by the model that has learned step 0 alone.
    assert ahead_s[51:].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
