"""The emulated executor on a clock of its own: steps end when due, tokens depend on seeds alone."""

import msgspec
import pytest

from services.engine.emulated import EmulatedExecutor, step_shape
from services.engine.emulation import StepTimes
from services.engine.profile import load_profile
from shared.step import LATENESS_BOUNDS_MS, NO_TOKEN, Chunk, Sampling
from shared.steptime import StepShape
from tests.unit.engine.builders import changed, copy, decode, first, more

PROFILE = load_profile("h100-llama3.1-8b")


class FakeClock:
    """Stands still but for waits; wakes late as told."""

    def __init__(self) -> None:
        self.time_s = 100.0
        self.late_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def wait_until(self, instant_s: float) -> None:
        self.time_s = max(self.time_s, instant_s + self.late_s)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def executor(clock: FakeClock, *, seed: int = 0, time_scale: float = 1.0, vocab_size: int = 49152) -> EmulatedExecutor:
    return EmulatedExecutor(PROFILE, seed=seed, time_scale=time_scale, vocab_size=vocab_size, clock=clock)


STEPS = [[first(0, 500)], [decode(0, 500), first(1, 80)], [decode(0, 501), decode(1, 80)]]


def run_all(engine: EmulatedExecutor, came_s: float) -> list[list[int]]:
    return [engine.run(chunks, came_s) for chunks in STEPS]


def total_s(seed: int = 0) -> float:
    times = StepTimes(PROFILE, seed)
    return sum(times.next_s(step_shape(chunks)) for chunks in STEPS)


def test_it_says_that_it_is_emulated_and_is_of_no_real_engine_s_kind(clock):
    info = executor(clock).info
    assert (info.executor, info.emulated, info.hardware_class) == ("emulated", True, "h100-emulated")
    assert info.model == PROFILE.model
    assert info.kv_blocks_total == PROFILE.kv_blocks_total
    assert info.copies_prefixes


def test_a_step_s_shape_is_that_of_its_chunks():
    chunks = [decode(0, 500), more(1, 100, 50), Chunk(2, 30, 1, (7,), sample=True)]
    assert step_shape(chunks) == StepShape(3, 52, 630, 50 * (100 + 25), 1)


def test_a_copied_prefix_is_read_but_not_computed():
    assert step_shape([copy(1, 0, 96, num_tokens=20)]) == StepShape(1, 20, 96, 20 * (96 + 10), 1)


def test_steps_that_wait_their_turn_run_back_to_back(clock):
    run_all(executor(clock), came_s=100.0)
    assert clock.time_s == pytest.approx(100.0 + total_s())


def test_late_wake_ups_do_not_add_up(clock):
    clock.late_s = 0.003
    run_all(executor(clock), came_s=100.0)
    assert clock.time_s == pytest.approx(100.0 + total_s() + 0.003)


def test_a_step_begins_when_its_plan_comes_where_nothing_ran_before_it(clock):
    engine = executor(clock)
    engine.run(STEPS[0], 100.0)
    idle_until_s = clock.time_s = clock.time_s + 5.0
    engine.run(STEPS[1], idle_until_s)
    times = StepTimes(PROFILE, 0)
    times.next_s(step_shape(STEPS[0]))
    assert clock.time_s == pytest.approx(idle_until_s + times.next_s(step_shape(STEPS[1])))


def test_the_time_scale_stretches_every_step(clock):
    run_all(executor(clock, time_scale=3.0), came_s=100.0)
    assert clock.time_s == pytest.approx(100.0 + 3 * total_s())


@pytest.mark.parametrize(("late_ms", "time_scale", "bin_ms"), [(0.15, 1.0, 0.2), (3.0, 1.0, 5.0), (3.0, 3.0, 1.0)])
def test_how_late_steps_end_is_counted_in_the_profile_s_time(clock, late_ms, time_scale, bin_ms):
    clock.late_s = late_ms / 1e3 - 1e-9
    engine = executor(clock, time_scale=time_scale)
    run_all(engine, came_s=100.0)
    assert dict(zip(LATENESS_BOUNDS_MS, engine.info.lateness_counts, strict=False))[bin_ms] == len(STEPS)
    assert sum(engine.info.lateness_counts) == len(STEPS)


def test_a_new_epoch_forgets_sequences_and_runs_the_same_plans_in_the_same_time(clock):
    engine = executor(clock, seed=5)
    run_all(engine, 100.0)
    engine.reset()
    began_s = clock.time_s = clock.time_s + 1.0
    run_all(engine, began_s)
    assert clock.time_s - began_s == pytest.approx(total_s(5))


def test_tokens_depend_on_a_sequence_s_seed_and_their_number_alone(clock):
    engine = executor(clock)
    sampling = Sampling(seed=9)
    alone = [engine.run([first(0, 5, sampling=sampling)], 0.0)[0], engine.run([decode(0, 5)], 0.0)[0]]
    engine.reset()
    crowd = [first(1, 8), first(2, 5, sampling=sampling)]
    crowded = [engine.run(crowd, 0.0)[1], engine.run([decode(2, 5), decode(1, 8)], 0.0)[0]]
    assert crowded == alone
    engine.reset()
    again = msgspec.structs.replace(sampling, first_draw=1)
    assert engine.run([first(0, 6, sampling=again)], 0.0) == alone[1:]


def test_no_token_is_special_or_outside_the_vocabulary(clock):
    for vocab_size in (2, 2000, 49152):
        engine = executor(clock, vocab_size=vocab_size)
        tokens = [engine.run([first(seed % 256, 2, sampling=Sampling(seed=seed))], 0.0)[0] for seed in range(300)]
        assert min(tokens) >= min(1000, vocab_size // 2)
        assert max(tokens) < vocab_size


def test_a_chunk_that_asks_for_no_token_draws_none(clock):
    engine = executor(clock)
    drawn = engine.run([first(0, 5)], 0.0)
    engine.reset()
    assert engine.run([changed(first(0, 3), sample=False)], 0.0) == [NO_TOKEN]
    assert engine.run([more(0, 3, 2)], 0.0) == drawn
