"""The emulated executor: takes as long for a step as a profiled GPU would, on the wall clock, and computes nothing.

Its plans are checked like any executor's, and its tokens are a function of each sequence's seed alone. It calls itself
emulated in all that it says.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from services.engine.draws import draw_number
from services.engine.emulation import StepTimes
from services.engine.profile import Profile
from shared.step import LATENESS_BOUNDS_MS, NO_TOKEN, Chunk, EngineInfo
from shared.steptime import StepShape

log = structlog.get_logger()

SPECIAL_TOKENS = 1000
"""Tokenizers keep end tokens, other control tokens and single bytes in front; no token is drawn from there."""
STEPS_A_REPORT = 1000


class Clock(Protocol):
    """What the time is, and waiting for it."""

    def now_s(self) -> float:
        """Seconds, from an arbitrary instant."""

    def wait_until(self, instant_s: float) -> None:
        """Return when the instant has come; at once if it has passed."""


class _Sequence(msgspec.Struct):
    seed: int
    next_draw: int


class EmulatedExecutor:
    """One emulated GPU.

    Args:
        seed: of the noise of its steps.
        time_scale: how many times longer steps take than the profile says.
        vocab_size: of the tokenizer that reads its tokens.
        clock: the one on which plans come.
    """

    def __init__(self, profile: Profile, *, seed: int, time_scale: float, vocab_size: int, clock: Clock) -> None:
        self._profile = profile
        self._seed = seed
        self._time_scale = time_scale
        self._clock = clock
        self._plain_tokens = range(min(SPECIAL_TOKENS, vocab_size // 2), vocab_size)
        self._lateness = Lateness()
        self._info = EngineInfo(
            executor="emulated",
            model=profile.model,
            hardware_class=f"{profile.hardware_class}-emulated",  # what it teaches is not for real ones
            emulated=True,
            vocab_size=vocab_size,
            max_slots=profile.max_slots,
            max_step_tokens=profile.max_step_tokens,
            max_context_tokens=min(profile.max_context_tokens, profile.kv_blocks_total * profile.kv_block_tokens),
            kv_block_tokens=profile.kv_block_tokens,
            kv_blocks_total=profile.kv_blocks_total,
            copies_prefixes=True,
        )
        self._due_s = 0.0
        self.reset()

    @property
    def info(self) -> EngineInfo:
        """What the profile says it is, and how punctual its steps have been."""
        return msgspec.structs.replace(self._info, lateness_counts=tuple(self._lateness.counts))

    def run(self, chunks: Sequence[Chunk], came_s: float) -> list[int]:
        """Let the step's time pass, from the plan's coming, or from when the step before was due if that was later.

        Counted from when that was due, not from when it ended: what a wake-up was late by is not added up.
        """
        duration_s = self._times.next_s(step_shape(chunks)) * self._time_scale
        self._due_s = max(came_s, self._due_s) + duration_s
        token_ids = [self._draw(chunk) for chunk in chunks]
        self._clock.wait_until(self._due_s)
        self._lateness.count((self._clock.now_s() - self._due_s) / self._time_scale * 1e3)
        return token_ids

    def release(self, slot: int) -> None:
        """Forget the slot's sequence."""
        del self._sequences[slot]

    def reset(self) -> None:
        """Forget every sequence, and begin the noise anew: an epoch's steps depend on its plans alone."""
        self._sequences: dict[int, _Sequence] = {}
        self._times = StepTimes(self._profile, self._seed)

    def _draw(self, chunk: Chunk) -> int:
        if chunk.sampling is not None:
            self._sequences[chunk.slot] = _Sequence(chunk.sampling.seed, chunk.sampling.first_draw)
        if not chunk.sample:
            return NO_TOKEN
        sequence = self._sequences[chunk.slot]
        number = draw_number(sequence.seed, sequence.next_draw)
        sequence.next_draw += 1
        return self._plain_tokens[number % len(self._plain_tokens)]


class Lateness:
    """Counts by how much steps end after they were due, in the profile's time; on a machine that keeps up, by little."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENESS_BOUNDS_MS) + 1)
        self._reported = self.counts[:]
        self._worst_ms = 0.0

    def count(self, late_ms: float) -> None:
        """Count one step; each thousand are logged."""
        self.counts[bisect_left(LATENESS_BOUNDS_MS, late_ms)] += 1
        self._worst_ms = max(self._worst_ms, late_ms)
        if sum(self.counts) % STEPS_A_REPORT == 0:
            counts = [now - before for now, before in zip(self.counts, self._reported, strict=True)]
            log.info("lateness", counts=counts, bounds_ms=LATENESS_BOUNDS_MS, worst_ms=round(self._worst_ms, 3))
            self._reported, self._worst_ms = self.counts[:], 0.0


def step_shape(chunks: Sequence[Chunk]) -> StepShape:
    """What the step's time depends on; a chunk of one token costs what a decode costs, whatever it is."""
    prefills = [(chunk.num_tokens, chunk.first_position) for chunk in chunks if chunk.num_tokens > 1]
    return StepShape(
        batch_size=len(chunks),
        num_tokens=sum(chunk.num_tokens for chunk in chunks),
        kv_tokens=sum(chunk.first_position for chunk in chunks),
        attention_work=sum(c * (k + c / 2) for c, k in prefills),
        prefill_seqs=len(prefills),
    )
