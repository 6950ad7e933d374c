"""What simulated engines run on: how long their steps really take, and what they hold. Pure."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from services.engine import emulation
from services.engine.profile import Profile
from shared.step import EngineInfo
from shared.steptime import StepShape

MODEL = "simulated"
"""All simulated engines serve one model, whatever their profiles were measured with."""
VOCAB_SIZE = 32_000
CAPACITY_TOKENS = 2048
"""A prompt of which is what capacity is judged by."""


class StepTimes(Protocol):
    """The times of one engine's steps, in the order in which they run."""

    def next_s(self, shape: StepShape, /) -> float:
        """How long the next step takes; moves the noise on."""

    def expected_s(self, shape: StepShape, /) -> float:
        """How long a step of this shape takes without noise."""


class Hardware(NamedTuple):
    """A kind of engine."""

    name: str
    info: EngineInfo
    times: Callable[[int], StepTimes]
    """By the seed of their noise."""

    @property
    def capacity_tokens_per_s(self) -> float:
        """What its data sheet would say, as it were."""
        prompt = StepShape(1, CAPACITY_TOKENS, 0, CAPACITY_TOKENS**2 / 2, 1)
        return CAPACITY_TOKENS / self.times(0).expected_s(prompt)


class Law(NamedTuple):
    """Milliseconds a step: a line through what was measured, and nothing else."""

    base_ms: float
    per_sequence_ms: float
    per_token_ms: float
    per_kv_token_ms: float
    deviation: float = 0.04
    """Of the logarithm of actual over expected time."""
    stall_share: float = 1 / 500
    stall_ms: float = 50.0


class LawTimes:
    """The times of steps that follow a law, with lognormal noise and stalls."""

    def __init__(self, law: Law, seed: int) -> None:
        self._law = law
        self._random = np.random.default_rng(seed)

    def next_s(self, shape: StepShape) -> float:
        """How long the next step takes."""
        law = self._law
        noise = math.exp(law.deviation * self._random.standard_normal())
        stall_ms = law.stall_ms if self._random.random() < law.stall_share else 0.0
        return self.expected_s(shape) * noise + stall_ms / 1e3

    def expected_s(self, shape: StepShape) -> float:
        """How long a step of this shape takes without noise."""
        seqs, tokens, kv_tokens, _, _ = shape
        base_ms, per_sequence_ms, per_token_ms, per_kv_token_ms, *_ = self._law
        return float(base_ms + per_sequence_ms * seqs + per_token_ms * tokens + per_kv_token_ms * kv_tokens) / 1e3


def hardware_by_law(name: str, law: Law, *, kv_tokens: int, max_slots: int = 256, block_tokens: int = 16) -> Hardware:
    """An engine that follows a law."""
    info = EngineInfo(
        executor="simulated",
        model=MODEL,
        hardware_class=name,
        emulated=True,
        vocab_size=VOCAB_SIZE,
        max_slots=max_slots,
        max_step_tokens=8192,
        max_context_tokens=32_768,
        kv_block_tokens=block_tokens,
        kv_blocks_total=kv_tokens // block_tokens,
    )
    return Hardware(name, info, partial(LawTimes, law))


def hardware_by_profile(profile: Profile) -> Hardware:
    """An engine as the emulated executor would run it."""
    info = EngineInfo(
        executor="simulated",
        model=MODEL,
        hardware_class=profile.hardware_class,
        emulated=True,
        vocab_size=VOCAB_SIZE,
        max_slots=profile.max_slots,
        max_step_tokens=profile.max_step_tokens,
        max_context_tokens=min(profile.max_context_tokens, profile.kv_blocks_total * profile.kv_block_tokens),
        kv_block_tokens=profile.kv_block_tokens,
        kv_blocks_total=profile.kv_blocks_total,
    )
    return Hardware(profile.name, info, partial(emulation.StepTimes, profile))


class Speed:
    """The times of an engine that may slow down.

    Attributes:
        times: how long steps should take.
        slowness: how many times longer they do.
    """

    def __init__(self, times: StepTimes) -> None:
        self.times = times
        self.slowness = 1.0

    def next_s(self, shape: StepShape) -> float:
        """How long the next step takes."""
        return self.slowness * self.times.next_s(shape)

    def expected_s(self, shape: StepShape) -> float:
        """How long a step of this shape takes now, without noise."""
        return self.slowness * self.times.expected_s(shape)
