"""The scheduler of one engine: what waits, what runs, what is on its way; plans steps and takes their answers.

It does no I/O and reads no clock: the loop sends what `plan` returns and brings answers to `apply`, in order.
"""

import math
from collections import Counter, deque
from operator import attrgetter
from typing import NamedTuple

from services.lens.cache import Cache
from services.lens.load import Arrivals, Load, load_of
from services.lens.plan import PlanLimits, Planner, Queue, shape_of
from services.lens.sequence import Allotment, Sequence
from services.lens.shares import TenantShares
from services.lens.shortage import who_leaves, who_pauses
from services.lens.synergy import synergy
from services.lens.text_blocks import TextBlocks
from shared.step import NO_SLOT, NO_TOKEN, Chunk, EngineInfo, StepPlan, StepResult
from shared.steptime import StepModel, StepShape
from shared.telemetry import Outcome

HEADROOM_BLOCKS = 2
"""For each sequence in the engine are kept when another joins, so that it does not have to leave again soon."""
STEPS_AHEAD = 2
"""While one step runs, the next is on its way, so that the device does not wait for lens."""
MOST_RECOMPUTES_WITHOUT_TOKEN = 2
"""A sequence whose engine fails this often before its next token is ended: it may be what fails the engine."""


class SentStep(NamedTuple):
    """A step on its way, with what was expected of it."""

    plan: StepPlan
    allotments: tuple[Allotment, ...]
    shape: StepShape
    target_s: float
    predicted_s: float


class Progress(NamedTuple):
    """A token that an answer brought; the sequence's outcome says whether it was the last."""

    sequence: Sequence
    token_id: int


class Scheduler:
    """Sequences of one engine epoch, batched continuously: they join and leave at any step.

    Args:
        planner: what decides each step.
    """

    def __init__(self, info: EngineInfo, boot_id: int, epoch: int, planner: Planner = synergy) -> None:
        self._planner = planner
        self.waiting: deque[Sequence] = deque()
        self.running: dict[int, Sequence] = {}
        """By slot, in order of admission; ended sequences stay until the last step that carries them has answered."""
        self._shares = TenantShares()
        self._arrivals = Arrivals()
        self.recomputes = 0
        """Sequences that made room for others and had to be computed again."""
        self.copied_tokens = 0
        """Tokens of prompts, and of answers to be recomputed, that were in the cache already."""
        self.open_epoch(info, boot_id, epoch)

    def open_epoch(self, info: EngineInfo, boot_id: int, epoch: int) -> None:
        """Start with an empty engine: whatever ran before waits again, in the old order, to be recomputed."""
        self.info = info
        self._boot_id = boot_id
        self._epoch = epoch
        self._step = 0
        self.in_flight: deque[SentStep] = deque()
        self._runs_since_s = -math.inf
        self._cache = Cache(info)
        interrupted = [s for s in self.running.values() if s.outcome is None]
        self.running = {}
        for sequence in interrupted:
            sequence.recompute(engine_failed=True)
        for sequence in self.waiting:
            sequence.expect(None)
        self._wait_again(interrupted)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn."""
        self._shares.arrive(sequence.tenant, {other.tenant for other in (*self.running.values(), *self.waiting)})
        self._cache.look_for_prefix(sequence)
        self._arrivals.note(sequence)
        self.waiting.append(sequence)

    def end(self, sequence: Sequence, outcome: Outcome) -> None:
        """End a sequence from outside: its client has left, or has what it wanted."""
        if sequence.outcome is not None:
            return
        sequence.outcome = outcome
        if sequence.slot == NO_SLOT:
            self.waiting.remove(sequence)
        else:
            self._leave_if_answered(sequence)

    def end_hopeless(self) -> list[Sequence]:
        """End what was recomputed too often without a token, or fits no more in an engine that came back smaller."""
        hopeless = [
            s for s in self.waiting if s.recomputes_since_token > MOST_RECOMPUTES_WITHOUT_TOKEN or self._too_large(s)
        ]
        for sequence in hopeless:
            self.end(sequence, Outcome.FAILED)
        return hopeless

    def plan(self, model: StepModel, limits: PlanLimits, now_s: float = 0.0) -> SentStep | None:
        """The next step, counted as sent; None where there is nothing to run and nothing to release.

        Args:
            now_s: on the clock of the sequences' arrivals.
        """
        if not self.in_flight:
            self._runs_since_s = now_s
        starts_s = max(now_s, self._runs_since_s + sum(sent.predicted_s for sent in self.in_flight))
        live = self._make_room()
        room = self._cache.room(headroom_blocks=HEADROOM_BLOCKS * len(live))
        queue = Queue(live, self.waiting, room, now_s, starts_s, self._shares.tokens)
        planned = self._planner(queue, model, limits)
        allotments = self._take_room(planned)
        released = self._cache.take_released()
        if not allotments and not released:
            return None
        shape = shape_of(allotments)
        predicted_s = float(model.step_time_s(shape)) if allotments else 0.0
        chunks = self._advance(allotments, starts_s + predicted_s)
        self._step += 1
        sent = SentStep(
            plan=StepPlan(self._boot_id, self._epoch, self._step, chunks, released),
            allotments=allotments,
            shape=shape,
            target_s=limits.target_s,
            predicted_s=predicted_s,
        )
        self.in_flight.append(sent)
        return sent

    def apply(self, result: StepResult, now_s: float) -> tuple[SentStep, list[Progress]]:
        """Take the answer to the oldest step on its way: tokens for their sequences, slots free again.

        Args:
            now_s: when it came, on the clock of `plan`; the step behind it runs since then.
        """
        sent = self.in_flight.popleft()
        self._runs_since_s = now_s
        assert (result.epoch, result.step) == (sent.plan.epoch, sent.plan.step), "answers come in order"
        progress = []
        for (sequence, *_), token_id in zip(sent.allotments, result.sampled_ids, strict=True):
            sequence.steps_in_flight -= 1
            if sequence.outcome is None and token_id != NO_TOKEN:
                sequence.accept(token_id, now_s)
                progress.append(Progress(sequence, token_id))
            if sequence.outcome is not None or sequence.is_leaving:
                self._leave_if_answered(sequence)
        for tenant, num_tokens in Counter([sequence.tenant for sequence, _ in progress]).items():
            self._shares.serve(tenant, num_tokens)
        return sent, progress

    def load(self, now_s: float) -> Load:
        """What runs and waits now, on the clock of `plan`."""
        return load_of(
            [s for s in self.running.values() if s.outcome is None],
            self.waiting,
            kv_blocks_free=self._cache.free_blocks,
            in_flight_s=sum(sent.predicted_s for sent in self.in_flight) - self._first_in_flight_s / 2,
            arrivals=self._arrivals,
            now_s=now_s,
        )

    @property
    def text_blocks(self) -> TextBlocks:
        """The prompts' text that can be copied now, and what changed of it in this epoch."""
        return self._cache.text_blocks

    @property
    def prefix_epoch(self) -> str:
        """What tells this epoch's `text_blocks` from any other's; empty where nothing can be copied."""
        return f"{self._boot_id:x}-{self._epoch}" if self.info.copies_prefixes else ""

    @property
    def _first_in_flight_s(self) -> float:
        return self.in_flight[0].predicted_s if self.in_flight else 0.0

    def _too_large(self, sequence: Sequence) -> bool:
        tokens = sequence.most_cached_tokens
        return not self._cache.could_hold(tokens) or tokens > self.info.max_context_tokens

    def _make_room(self) -> list[Sequence]:
        """Those in the engine that the next step can run. Where the cache is full, somebody leaves, and others pause until it has."""
        live = [s for s in self.running.values() if s.outcome is None and not s.is_leaving]
        short = {s for s in live if s.cached_tokens >= s.room_tokens and s.can_decode}
        if len(short) <= self._cache.free_blocks:
            return live
        ending = [
            s for s in self.running.values() if s.outcome is not None or s.is_leaving or s.draws == s.max_output_tokens
        ]
        room_blocks = self._cache.free_blocks + sum(map(self._cache.blocks_of, ending))
        candidates = [s for s in live if s.draws < s.max_output_tokens]
        for sequence in who_leaves(candidates, short, room_blocks=room_blocks, blocks_of=self._cache.blocks_of):
            sequence.is_leaving = True
            self._leave_if_answered(sequence)
        staying = [s for s in live if s.slot != NO_SLOT and not s.is_leaving]
        pausing = who_pauses(short.intersection(staying), free_blocks=self._cache.free_blocks)
        return [s for s in staying if s not in pausing]

    def _take_room(self, planned: tuple[Allotment, ...]) -> tuple[Allotment, ...]:
        """Slots and blocks for what is planned, decodes first, so that there is a block for each of them.

        Returns:
            What is planned, but for newcomers who find more of their prompt in the cache than they expected, or have to wait on.
        """
        lacking = [a for a in planned if a.sequence.cached_tokens >= a.sequence.room_tokens]
        changed: dict[Sequence, Allotment | None] = {}
        for allotment in lacking:
            sequence = allotment.sequence
            if sequence.slot != NO_SLOT:
                self._cache.grow(sequence)
            elif self._cache.admit(sequence):
                self.waiting.remove(sequence)
                self.running[sequence.slot] = sequence
                self.copied_tokens += sequence.cached_tokens
                num_tokens = min(allotment.num_tokens, sequence.prefill_tokens_left)
                changed[sequence] = allotment._replace(num_tokens=num_tokens)
            else:
                changed[sequence] = None
        if not changed:
            return planned
        settled = (changed.get(allotment.sequence, allotment) for allotment in planned)
        return tuple([allotment for allotment in settled if allotment is not None])

    def _advance(self, allotments: tuple[Allotment, ...], ends_s: float) -> tuple[Chunk, ...]:
        """The chunks of a step that is foreseen to end then; what they compute of prompts can be copied by the next."""
        chunks = tuple([sequence.advance(num_tokens, ends_s) for sequence, num_tokens, _, _ in allotments])
        prompts = [allotment for allotment in allotments if allotment.is_prefill]
        for sequence, num_tokens, _, is_relegated in prompts:
            self._cache.note_sent(sequence)
            self._shares.serve(sequence.tenant, num_tokens)
            sequence.relegated |= is_relegated
        for sequence in [a.sequence for a in allotments if a.is_relegated and not a.is_prefill]:
            sequence.give_up()
        if self._cache.has_forgotten or not all(prompt.sequence.prefill_tokens_left for prompt in prompts):
            self._cache.has_forgotten = False
            for sequence in self.waiting:
                self._cache.look_for_prefix(sequence)
        return chunks

    def _leave_if_answered(self, sequence: Sequence) -> None:
        """Free the slot and blocks of a sequence that has ended or makes room, once no step on its way carries it."""
        if sequence.steps_in_flight or sequence.slot == NO_SLOT:
            return
        del self.running[sequence.slot]
        self._cache.leave(sequence)
        sequence.slot = NO_SLOT
        if sequence.outcome is None:
            self.recomputes += 1
            sequence.recompute(engine_failed=False)
            self._wait_again([sequence])

    def _wait_again(self, sequences: list[Sequence]) -> None:
        """In the old order."""
        self.waiting = deque(sorted((*sequences, *self.waiting), key=attrgetter("arrival_s")))
