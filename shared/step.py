"""The step contract: what lens asks of an engine, and what the engine answers.

One plan is one engine iteration: exactly these sequences run exactly these tokens. `tensors` puts these values on the
wire; nothing here knows of Triton.
"""

from enum import StrEnum

import msgspec

NO_TOKEN = -1
"""In place of a sampled token where a chunk asked for none."""

NO_SLOT = -1
"""In place of a slot where none is meant."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How a sequence's tokens are drawn; sent with its first chunk, and again when it is recomputed.

    Draw *i* of a sequence is a function of (`seed`, *i*), so a recomputed sequence continues as it would have:
    `first_draw` is the number of tokens it had drawn before this chunk.
    """

    seed: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps the whole vocabulary."""
    first_draw: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    num_logprobs: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """The tokens one sequence runs in one step."""

    slot: int
    first_position: int
    """Tokens of the sequence already in the cache; the chunk must begin right there."""
    num_tokens: int
    token_ids: tuple[int, ...] | None
    """The input tokens, or None for "the token you sampled last" (then `num_tokens` is 1)."""
    sample: bool
    """Whether a token is drawn after the chunk's last position."""
    sampling: Sampling | None = None
    """Given exactly with the first chunk that a sequence runs in its slot."""
    prefix_slot: int = NO_SLOT
    """With a first chunk: copy positions 0 … first_position − 1 from this slot instead of computing them.

    Needs `EngineInfo.copies_prefixes`. They are whole KV blocks, at least one, that the slot held before this step and that
    the same plan does not release. Both slots then hold the same blocks: they count once, and are free when the last slot
    that holds them is released.
    """


class StepPlan(msgspec.Struct, frozen=True):
    """One engine iteration. Step *k* of an epoch runs only after step *k* − 1; the first is step 1."""

    boot_id: int
    epoch: int
    step: int
    chunks: tuple[Chunk, ...]
    released_slots: tuple[int, ...] = ()
    """Freed before the chunks run."""


class OpenEpoch(msgspec.Struct, frozen=True):
    """Release every slot and begin a new epoch, whatever was queued or refused before."""


class Probe(msgspec.Struct, frozen=True):
    """Answer, and change nothing: the health check, since Triton's own stays true when its Python has died."""


EngineRequest = StepPlan | OpenEpoch | Probe


class RefusalCode(StrEnum):
    """Why an engine ran nothing of a plan."""

    MALFORMED = "malformed"
    WRONG_BOOT = "wrong_boot"
    STALE_EPOCH = "stale_epoch"
    POISONED_EPOCH = "poisoned_epoch"
    STEP_OUT_OF_ORDER = "step_out_of_order"
    SLOT_OUT_OF_RANGE = "slot_out_of_range"
    UNKNOWN_SLOT = "unknown_slot"
    SLOT_IN_USE = "slot_in_use"
    DUPLICATE_SLOT = "duplicate_slot"
    POSITION_MISMATCH = "position_mismatch"
    CONTEXT_EXCEEDED = "context_exceeded"
    TOO_MANY_TOKENS = "too_many_tokens"
    KV_FULL = "kv_full"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a reason, not a secret
    NO_SAMPLED_TOKEN = "no_sampled_token"  # noqa: S105 - a reason, not a secret
    UNSUPPORTED = "unsupported"
    QUEUE_FULL = "queue_full"
    EXECUTOR_FAILED = "executor_failed"


class Refusal(msgspec.Struct, frozen=True):
    """What was wrong with a plan, by name; the epoch it belonged to is poisoned."""

    code: RefusalCode
    message: str


LATENESS_BOUNDS_MS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
"""By how much emulated steps end late: the upper bounds of the bins in which they are counted; one more bin has none."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is and what it can hold; answered to `OpenEpoch` and `Probe`."""

    executor: str
    model: str
    hardware_class: str
    emulated: bool
    vocab_size: int
    max_slots: int
    max_step_tokens: int
    max_context_tokens: int
    kv_block_tokens: int
    kv_blocks_total: int
    lateness_counts: tuple[int, ...] = ()
    """Emulated engines: steps since the start, by `LATENESS_BOUNDS_MS`. Two readings tell whether the machine kept up between."""
    copies_prefixes: bool = False
    """Whether a first chunk may name a `prefix_slot`."""


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to any `EngineRequest`."""

    boot_id: int
    epoch: int
    step: int
    duration_s: float = 0.0
    """How long the step kept the device: from its coming, or from the end of the step before if that was later, to its
    end, sampling included."""
    kv_blocks_used: int = 0
    sampled_ids: tuple[int, ...] = ()
    """One per chunk, in the plan's order; `NO_TOKEN` where none was asked for."""
    refusal: Refusal | None = None
    info: EngineInfo | None = None
