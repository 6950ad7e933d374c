"""Whatever happens, the scheduler's books add up and every request gets exactly the tokens it would get alone."""

import dataclasses
from collections.abc import Iterator, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lens.plan import PlanLimits
from services.lens.planners import planner_named
from services.lens.scheduler import Scheduler
from services.lens.sequence import Sequence
from shared.slo import Slo
from shared.step import NO_SLOT, NO_TOKEN, Chunk, Sampling, StepPlan, StepResult
from shared.steptime import StepModel
from shared.telemetry import Outcome
from tests.step_models import step_model
from tests.unit.lens.builders import engine_info

INFO = msgspec.structs.replace(
    engine_info(slots=4, blocks=24, block_tokens=4, max_step_tokens=24),
    vocab_size=1000,
    max_context_tokens=64,
    copies_prefixes=True,
)


SLOS = (Slo(ttft_s=1.0), Slo(), Slo(e2e_s=0.5), Slo(ttft_s=0.2, tpot_s=0.05))


class StrictEngine:
    """Runs plans as the contract says, and fails the test on any that it could not run.

    A token is a function of all the tokens before it and the number of the draw, so a wrong input, a wrong position or a
    wrong draw shows in the output.
    """

    def __init__(self) -> None:
        self.contents: dict[int, list[int]] = {}
        self.blocks: dict[int, list[object]] = {}
        """By slot; slots that share a prefix hold the same ones."""
        self.draws: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.step = 0

    def run(self, plan: StepPlan) -> StepResult:
        self.step += 1
        assert plan.step == self.step
        for slot in plan.released_slots:
            del self.contents[slot], self.blocks[slot]
        before = {slot: len(content) for slot, content in self.contents.items()}
        slots = [chunk.slot for chunk in plan.chunks]
        assert len(set(slots)) == len(slots)
        assert sum(chunk.num_tokens for chunk in plan.chunks) <= INFO.max_step_tokens
        sampled = []
        for chunk in plan.chunks:
            assert 0 <= chunk.slot < INFO.max_slots
            if chunk.sampling is not None:
                assert chunk.slot not in self.contents
                assert (chunk.prefix_slot != NO_SLOT) == (chunk.first_position > 0)
                self._copy(chunk, before)
                self.draws[chunk.slot] = chunk.sampling.first_draw
            content = self.contents[chunk.slot]
            assert chunk.first_position == len(content)
            content.extend(chunk.token_ids or (self.last.pop(chunk.slot),))
            blocks = self.blocks[chunk.slot]
            blocks.extend(object() for _ in range(-(-len(content) // INFO.kv_block_tokens) - len(blocks)))
            sampled.append(self._draw(chunk.slot) if chunk.sample else NO_TOKEN)
        assert self.blocks_used <= INFO.kv_blocks_total
        return StepResult(boot_id=plan.boot_id, epoch=plan.epoch, step=plan.step, sampled_ids=tuple(sampled))

    def _copy(self, chunk: Chunk, before: Mapping[int, int]) -> None:
        self.contents[chunk.slot], self.blocks[chunk.slot] = [], []
        if chunk.prefix_slot != NO_SLOT:
            copied = chunk.first_position
            assert copied % INFO.kv_block_tokens == 0
            assert copied <= before[chunk.prefix_slot]
            self.contents[chunk.slot] = self.contents[chunk.prefix_slot][:copied]
            self.blocks[chunk.slot] = self.blocks[chunk.prefix_slot][: copied // INFO.kv_block_tokens]

    @property
    def blocks_used(self) -> int:
        return len({block for blocks in self.blocks.values() for block in blocks})

    def _draw(self, slot: int) -> int:
        token = token_after(self.contents[slot], self.draws[slot])
        self.draws[slot] += 1
        self.last[slot] = token
        return token


def token_after(content: list[int], draw: int) -> int:
    return (sum((i + 1) * token for i, token in enumerate(content)) * 31 + draw) % INFO.vocab_size


def alone(prompt: tuple[int, ...], max_output_tokens: int, end_ids: frozenset[int]) -> Iterator[int]:
    content = list(prompt)
    for draw in range(max_output_tokens):
        token = token_after(content, draw)
        yield token
        if token in end_ids:
            return
        content.append(token)


@dataclasses.dataclass
class Add:
    prompt: tuple[int, ...]
    max_output_tokens: int
    end_ids: frozenset[int]
    tenant: str
    priority: int


@dataclasses.dataclass
class Cancel:
    which: int


class Send: ...


class Answer: ...


class LoseEngine: ...


COMMON = [tuple(range(length)) for length in range(41)]
"""Prompts that begin alike."""

tokens = st.integers(0, INFO.vocab_size - 1)
events = st.one_of(
    st.builds(
        Add,
        st.one_of(st.lists(tokens, min_size=1, max_size=40).map(tuple), st.integers(1, 40).map(COMMON.__getitem__)),
        st.integers(1, 20),
        st.frozensets(tokens, max_size=400),
        st.sampled_from(("", "a")),
        st.integers(-1, 1),
    ),
    st.builds(Cancel, st.integers(0, 50)),
    st.builds(Send),
    st.builds(Answer),
    st.builds(Answer),
    st.builds(LoseEngine),
)
models = st.builds(
    lambda base, per_token: step_model(base=base, per_token=per_token),
    st.floats(0, 1),
    st.floats(0, 0.1),
)


PLANNERS = (
    "synergy",
    "published",
    "prefill-first",
    "static-1",
    "static-7",
    "static-7-relegating",
    "static-7-triaging",
    "static-99-relegating",
)


class System:
    def __init__(self, model: StepModel, target_s: float, planner: str = "synergy") -> None:
        self.now_s = 0.0
        self.model = model
        self.limits = PlanLimits(INFO.max_step_tokens, least_prefill_tokens=1, target_s=target_s)
        self.engine = StrictEngine()
        self.scheduler = Scheduler(INFO, boot_id=1, epoch=1, planner=planner_named(planner))
        self.sequences: list[Sequence] = []
        self.returned: dict[Sequence, list[int]] = {}
        self.answers: list[StepResult] = []

    def handle(self, event: object) -> None:
        match event:
            case Add(prompt, max_output_tokens, end_ids, tenant, priority):
                sequence = Sequence(
                    request_id=str(len(self.sequences)),
                    prompt_ids=prompt,
                    max_output_tokens=max_output_tokens,
                    sampling=Sampling(seed=0),
                    end_ids=end_ids,
                    slo=SLOS[len(self.sequences) % len(SLOS)],
                    arrival_s=self.now_s,
                    tenant=tenant,
                    priority=priority,
                )
                self.sequences.append(sequence)
                self.returned[sequence] = []
                self.scheduler.add(sequence)
            case Cancel(which) if which < len(self.sequences):
                self.scheduler.end(self.sequences[which], Outcome.CANCELLED)
            case Send() if len(self.scheduler.in_flight) < 2:
                self.send()
            case Answer() if self.scheduler.in_flight:
                self.answer()
            case LoseEngine():
                self.engine = StrictEngine()
                self.answers.clear()
                self.scheduler.open_epoch(INFO, boot_id=2, epoch=1)
                self.scheduler.end_hopeless()

    def send(self) -> bool:
        self.now_s += 0.1
        sent = self.scheduler.plan(self.model, self.limits, self.now_s)
        if sent is not None:
            self.answers.append(self.engine.run(sent.plan))
        return sent is not None

    def answer(self) -> None:
        for sequence, token_id in self.scheduler.apply(self.answers.pop(0), self.now_s)[1]:
            self.returned[sequence].append(token_id)

    def run_to_the_end(self) -> None:
        for _ in range(5000):
            sent = len(self.scheduler.in_flight) < 2 and self.send()
            if self.scheduler.in_flight:
                self.answer()
            elif not sent:
                return
        raise AssertionError("the scheduler never comes to an end")


@pytest.fixture(scope="module", autouse=True)
def _little_room_at_first() -> Iterator[None]:
    """So that answers outgrow what they have room for when they join, and the cache gets full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.lens.sequence.RESERVED_OUTPUT_TOKENS", 2)
        yield


@given(models, st.floats(0, 1), st.sampled_from(PLANNERS), st.lists(events, max_size=120))
def test_every_request_ends_once_with_the_tokens_it_would_get_alone(model, target_s, planner, history):
    system = System(model, target_s, planner)
    for event in history:
        system.handle(event)
    system.run_to_the_end()
    for sequence in system.sequences:
        expected = list(alone(sequence.prompt_ids, sequence.max_output_tokens, sequence.end_ids))
        returned = system.returned[sequence]
        assert sequence.outcome is not None
        if sequence.outcome in (Outcome.STOP, Outcome.LENGTH):
            assert returned == expected
        else:
            assert returned == expected[: len(returned)]
    assert system.scheduler.load(0.0).kv_blocks_free == INFO.kv_blocks_total
    assert system.scheduler.running == {}
    assert system.scheduler.load(0.0).kv_tokens == 0
