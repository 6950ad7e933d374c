"""How long steps take on a profiled GPU: tables, roundings and replayed noise, for the emulated engine and the simulator.

Made otherwise than the step model on purpose (`shared/steptime.py` is a sum of fixed terms), so that a model which foresees
an emulated engine has had to learn it.
"""

from bisect import bisect_left
from itertools import pairwise

import numpy as np

from services.engine.profile import Profile, Table
from shared.steptime import StepShape


class StepTimes:
    """The times of one engine's steps, in the order in which they run; the same for the same seed and steps.

    A step takes floor(S in whole tiles) + graph(B) + attention. Decodes run in the next larger captured graph; a step that
    prefills has none, costs something extra, and reads the cache more slowly. Actual steps differ from that by residuals
    of real steps, replayed in blocks, and some stall.
    """

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self._floor = _Interpolated(profile.floor_ms)
        self._graph_sizes = [size for size, _ in profile.graph_ms]
        self._seqs = _Interpolated(profile.graph_ms)
        self._random = np.random.default_rng(seed)
        self._block_start = 0
        self._block_left = 0

    def next_s(self, shape: StepShape) -> float:
        """How long the next step takes, if it has this shape; moves the noise on by one step."""
        return self.expected_s(shape) * (1.0 + self._next_residual()) + self._next_stall_s()

    def expected_s(self, shape: StepShape) -> float:
        """How long a step of this shape takes without noise; numbers only, no arrays."""
        profile = self.profile
        tiles = -(-int(shape.num_tokens) // profile.tile_tokens)
        kv_ms = profile.kv_ms_per_token * float(shape.kv_tokens)
        work_ms = profile.work_ms_per_token2 * float(shape.attention_work)
        seqs = int(shape.batch_size)
        floor_ms = self._floor(tiles * profile.tile_tokens)
        if shape.prefill_seqs:
            mixed_ms = self._seqs(seqs) + profile.mixed_kv_factor * kv_ms + work_ms + profile.mixed_ms
            return (floor_ms + mixed_ms) / 1e3
        return (floor_ms + self._graph_ms(seqs) + kv_ms) / 1e3

    def _graph_ms(self, seqs: int) -> float:
        place = bisect_left(self._graph_sizes, seqs)
        if place < len(self._graph_sizes):
            return self.profile.graph_ms[place][1]
        size, ms = self.profile.graph_ms[-1]
        return ms * seqs / size

    def _next_residual(self) -> float:
        residuals, block_steps = self.profile.residuals, self.profile.block_steps
        if not self._block_left:
            self._block_start = int(self._random.integers(len(residuals) - block_steps + 1))
            self._block_left = block_steps
        self._block_left -= 1
        return residuals[self._block_start + block_steps - 1 - self._block_left]

    def _next_stall_s(self) -> float:
        if self._random.random() >= self.profile.stall_share:
            return 0.0
        return float(self._random.exponential(self.profile.stall_ms)) / 1e3


class _Interpolated:
    """A table between its rows, level before the first, and as steep as the last two beyond the last."""

    def __init__(self, table: Table) -> None:
        self._sizes = [size for size, _ in table]
        self._ms = [ms for _, ms in table]
        rises = [(next_ms - ms) / (next_size - size) for (size, ms), (next_size, next_ms) in pairwise(table)]
        self._slopes = [*rises, rises[-1] if rises else 0.0]

    def __call__(self, size: int) -> float:
        before = bisect_left(self._sizes, size) - 1
        if before < 0:
            return self._ms[0]
        return self._ms[before] + self._slopes[before] * (size - self._sizes[before])
