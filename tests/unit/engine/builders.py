"""Short ways to say plans, and an engine small enough to fill."""

import msgspec

from shared.step import Chunk, EngineInfo, Sampling, StepPlan

BOOT_ID = 77
GREEDY = Sampling(seed=0, temperature=0.0)
INFO = EngineInfo(
    executor="fake",
    model="m",
    hardware_class="cpu",
    emulated=True,
    vocab_size=100,
    max_slots=4,
    max_step_tokens=32,
    max_context_tokens=40,
    kv_block_tokens=4,
    kv_blocks_total=12,
    copies_prefixes=True,
)


def first(slot: int, num_tokens: int, *, sample: bool = True, sampling: Sampling = GREEDY) -> Chunk:
    """The first chunk of a sequence."""
    return Chunk(slot, 0, num_tokens, tuple(range(num_tokens)), sample, sampling)


def copy(slot: int, source: int, first_position: int, num_tokens: int = 1, *, sampling: Sampling = GREEDY) -> Chunk:
    """The first chunk of a sequence that begins as another does."""
    return Chunk(slot, first_position, num_tokens, (1,) * num_tokens, True, sampling, source)


def more(slot: int, first_position: int, num_tokens: int, *, sample: bool = True) -> Chunk:
    """A chunk that goes on with a prompt."""
    return Chunk(slot, first_position, num_tokens, (1,) * num_tokens, sample)


def decode(slot: int, first_position: int) -> Chunk:
    """One token more, from the one sampled last."""
    return Chunk(slot, first_position, 1, None, sample=True)


def plan(*chunks: Chunk, step: int = 1, epoch: int = 1, released: tuple[int, ...] = ()) -> StepPlan:
    """A plan of this boot."""
    return StepPlan(BOOT_ID, epoch, step, chunks, released)


def changed(chunk: Chunk, **fields: object) -> Chunk:
    """The chunk with other values."""
    return msgspec.structs.replace(chunk, **fields)
