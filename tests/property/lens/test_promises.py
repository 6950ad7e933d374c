"""Whatever comes, and however wrong the model: answers go on, nobody is forgotten, and the same input gives the same plans."""

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lens.plan import PlanLimits
from services.lens.promise import MOST_GAP_PACES
from services.lens.scheduler import STEPS_AHEAD, Scheduler
from services.lens.sequence import Sequence as Generation
from shared.slo import Slo
from shared.step import NO_TOKEN, StepPlan, StepResult
from shared.steptime import StepModel
from tests.step_models import step_model
from tests.unit.lens.builders import engine_info, sequence

INFO = msgspec.structs.replace(
    engine_info(slots=16, blocks=4000, block_tokens=4, max_step_tokens=2048), max_context_tokens=4000
)
LIMITS = PlanLimits(INFO.max_step_tokens, least_prefill_tokens=4, target_s=1.0)
MODEL = step_model(base=0.01, per_sequence=2e-4, per_token=2e-4, per_kv_token=1e-7)
"""All slots decoding take 16 ms, with the least of a prompt beside them 17 ms."""
PACE_S = 0.04


class Ask(msgspec.Struct, frozen=True):
    """A request to come."""

    after_s: float
    """The one before."""
    prompt_tokens: int
    answer_tokens: int
    slo: Slo
    priority: int = 0
    tenant: str = ""


class Clockwork:
    """The scheduler over an engine whose steps take so many times what is foreseen, in virtual time."""

    def __init__(self, asks: Iterable[Ask], times: float = 1.0, model: StepModel = MODEL) -> None:
        self.scheduler = Scheduler(INFO, boot_id=1, epoch=1)
        self.plans: list[StepPlan] = []
        self.tokens_s: dict[Generation, list[float]] = {}
        self.now_s = 0.0
        self._model = model
        self._times = times
        self._asks = self._made(asks)
        self._next = next(self._asks, None)

    def _made(self, asks: Iterable[Ask]) -> Iterator[Generation]:
        arrival_s = 0.0
        for number, ask in enumerate(asks):
            arrival_s += ask.after_s
            made = sequence(ask.prompt_tokens, ask.answer_tokens, str(number), slo=ask.slo, arrival_s=arrival_s)
            made.priority, made.tenant = ask.priority, ask.tenant
            yield made

    def _admit(self) -> None:
        while self._next is not None and self._next.arrival_s <= self.now_s:
            self.scheduler.add(self._next)
            self.tokens_s[self._next] = []
            self._next = next(self._asks, None)

    def step(self) -> bool:
        """Run one step; False where nothing is left to do."""
        of = self.scheduler
        self._admit()
        while len(of.in_flight) < STEPS_AHEAD and (sent := of.plan(self._model, LIMITS, self.now_s)) is not None:
            self.plans.append(sent.plan)
        if not of.in_flight:
            if self._next is None:
                return False
            self.now_s = self._next.arrival_s
            return True
        running = of.in_flight[0]
        self.now_s += self._times * running.predicted_s
        sampled = tuple(0 if chunk.sample else NO_TOKEN for chunk in running.plan.chunks)
        result = StepResult(boot_id=1, epoch=1, step=running.plan.step, sampled_ids=sampled)
        for sequence_, _ in of.apply(result, self.now_s)[1]:
            self.tokens_s[sequence_].append(self.now_s)
        return True

    def run(self, steps: int = 20_000) -> "Clockwork":
        for _ in range(steps):
            if not self.step():
                return self
        raise AssertionError(f"not at an end after {steps} steps")


def asks(pace_s: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[Ask]]:
    slos = st.builds(Slo, ttft_s=st.one_of(st.none(), st.floats(0.05, 3)), tpot_s=pace_s)
    return st.lists(
        st.builds(
            Ask,
            after_s=st.one_of(st.just(0.0), st.floats(0, 0.3)),
            prompt_tokens=st.one_of(st.integers(1, 60), st.integers(1, 1500)),
            answer_tokens=st.integers(1, 40),
            slo=slos,
            priority=st.integers(-1, 1),
            tenant=st.sampled_from(("", "a", "b")),
        ),
        min_size=1,
        max_size=40,
    )


wrong_by = st.sampled_from((1 / 3, 0.5, 1.0, 2.0, 3.0))


@settings(deadline=None)
@given(asks(st.just(PACE_S)), wrong_by)
def test_no_gap_in_an_answer_is_above_the_cap_where_steps_of_nothing_else_are_well_below(load, times):
    done = Clockwork(load, times).run()
    gaps_s = [b - a for tokens_s in done.tokens_s.values() for a, b in pairwise(tokens_s)]
    assert max(gaps_s, default=0.0) <= max(times, 1.0) * MOST_GAP_PACES * PACE_S * (1 + 1e-9)


@settings(deadline=None)
@given(asks(st.one_of(st.none(), st.floats(0.001, 0.2))), wrong_by)
def test_every_request_ends_once_with_all_its_tokens_however_wrong_the_model(load, times):
    done = Clockwork(load, times).run()
    assert len(done.tokens_s) == len(load)
    for answered, tokens_s in done.tokens_s.items():
        assert answered.outcome is not None
        assert len(tokens_s) == answered.max_output_tokens
        assert tokens_s == sorted(tokens_s)
    assert done.scheduler.load(0.0).kv_blocks_free == INFO.kv_blocks_total


@settings(deadline=None)
@given(asks(st.one_of(st.none(), st.floats(0.001, 0.2))), wrong_by)
def test_the_same_requests_get_the_same_plans(load, times):
    assert Clockwork(load, times).run().plans == Clockwork(load, times).run().plans


@settings(deadline=None, max_examples=15)
@given(st.integers(200, 2000), st.integers(-1, 0), st.sampled_from(("", "other")), st.integers(40, 200))
def test_a_prompt_that_cannot_be_on_time_ends_though_others_come_without_end(prompt, priority, tenant, of_others):
    flood = Ask(of_others * 1e-4, of_others, 4, Slo(ttft_s=1.0, tpot_s=PACE_S))
    hopeless = Ask(0.5, prompt, 4, Slo(ttft_s=0.01, tpot_s=PACE_S), priority, tenant)
    system = Clockwork(chain(islice((flood for _ in count()), 20), (hopeless,), (flood for _ in count())))
    while len(system.tokens_s) <= 20:
        system.step()
    (forgotten,) = [s for s in system.tokens_s if s.request_id == "20"]
    until_s = system.now_s + 120.0
    while forgotten.outcome is None:
        system.step()
        assert system.now_s < until_s
    assert forgotten.relegated


@given(asks(st.just(PACE_S)))
@settings(deadline=None, max_examples=30)
def test_while_a_request_is_relegated_there_is_none_on_time_that_it_has_delayed_by_more_than_the_floor(load):
    """What is kept for the relegated in a step is the least that a prompt may run."""
    system = Clockwork(load)
    while system.step():
        for sent in system.scheduler.in_flight:
            relegated = [a for a in sent.allotments if a.is_relegated]
            on_time = [a for a in sent.allotments if a.is_prefill and not a.is_relegated]
            unfinished = any(a.sequence.prefill_tokens_left for a in on_time)
            if unfinished and relegated:
                assert sum(a.num_tokens for a in relegated) <= LIMITS.least_prefill_tokens
