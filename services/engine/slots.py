"""What the engine holds, slot by slot: it decides whether a plan can run before anything of the plan is run."""

import math
from collections.abc import Iterable

import msgspec

from services.engine.prefixes import Prefix, count_released
from shared.step import NO_SLOT, Chunk, EngineInfo, Refusal, RefusalCode, Sampling, StepPlan


class _Slot(msgspec.Struct):
    """One sequence in the cache."""

    position: int
    """Tokens of it in the cache."""
    sampled: bool
    """Whether its last chunk drew a token, which a decode may take as its input."""
    prefix: Prefix | None = None
    """Its first blocks, as far as other slots hold or have held them too."""


class SlotTable:
    """Positions and KV blocks of all slots; a plan is checked as a whole, then applied as a whole."""

    def __init__(self, info: EngineInfo) -> None:
        self._info = info
        self._slots: dict[int, _Slot] = {}
        self.blocks_used = 0

    def clear(self) -> None:
        """Release every slot."""
        self._slots.clear()
        self.blocks_used = 0

    def check(self, plan: StepPlan) -> Refusal | None:
        """Why this plan cannot run, or None; changes nothing."""
        released = frozenset(plan.released_slots)
        return (
            self._check_releases(plan.released_slots, released)
            or self._check_slots_differ(plan.chunks)
            or self._check_size(plan.chunks)
            or self._check_chunks(plan.chunks, released)
            or self._check_room(plan.chunks, released)
        )

    def apply(self, plan: StepPlan) -> None:
        """Count the plan, which `check` has passed, as run."""
        for slot in plan.released_slots:
            released = self._slots.pop(slot)
            self.blocks_used -= self._unshared_blocks(released)
            if released.prefix is not None:
                self.blocks_used -= released.prefix.release()
        for chunk in plan.chunks:
            end = chunk.first_position + chunk.num_tokens
            self.blocks_used += self._blocks(end) - self._blocks(chunk.first_position)
            held = self._slots.get(chunk.slot)
            if held is None:
                self._slots[chunk.slot] = _Slot(end, chunk.sample, self._copied_prefix(chunk))
            else:
                held.position, held.sampled = end, chunk.sample

    def _copied_prefix(self, chunk: Chunk) -> Prefix | None:
        """What a new sequence has in common with the one from which it copies; it takes no room."""
        if chunk.prefix_slot == NO_SLOT:
            return None
        source, num_blocks = self._slots[chunk.prefix_slot], self._blocks(chunk.first_position)
        if source.prefix is None or source.prefix.num_blocks < num_blocks:
            source.prefix = Prefix(num_blocks, parent=source.prefix)
        return source.prefix.share(num_blocks)

    def _unshared_blocks(self, held: _Slot) -> int:
        return self._blocks(held.position) - (held.prefix.num_blocks if held.prefix is not None else 0)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._info.kv_block_tokens)

    def _check_releases(self, slots: tuple[int, ...], released: frozenset[int]) -> Refusal | None:
        if len(released) != len(slots):
            return Refusal(RefusalCode.DUPLICATE_SLOT, f"released_slots names a slot twice: {list(slots)}")
        unknown = sorted(released - self._slots.keys())
        if unknown:
            return Refusal(RefusalCode.UNKNOWN_SLOT, f"released_slots names slots that hold nothing: {unknown}")
        return None

    def _check_slots_differ(self, chunks: tuple[Chunk, ...]) -> Refusal | None:
        if len({chunk.slot for chunk in chunks}) == len(chunks):
            return None
        slots = [chunk.slot for chunk in chunks]
        twice = sorted({slot for slot in slots if slots.count(slot) > 1})
        return Refusal(RefusalCode.DUPLICATE_SLOT, f"slots with more than one chunk: {twice}")

    def _check_size(self, chunks: tuple[Chunk, ...]) -> Refusal | None:
        num_tokens = sum(chunk.num_tokens for chunk in chunks)
        most = self._info.max_step_tokens
        if num_tokens > most:
            return Refusal(RefusalCode.TOO_MANY_TOKENS, f"{num_tokens} tokens in a step; at most {most} can run")
        return None

    def _check_chunks(self, chunks: tuple[Chunk, ...], released: frozenset[int]) -> Refusal | None:
        for chunk in chunks:
            held = None if chunk.slot in released else self._slots.get(chunk.slot)
            if chunk.sampling is None:
                refusal = self._check_next(chunk, held)
            else:
                refusal = (
                    self._check_first(chunk, held)
                    or self._check_beginning(chunk, released)
                    or check_sampling(chunk.slot, chunk.sampling)
                )
            refusal = refusal or self._check_tokens(chunk)
            if refusal is not None:
                return refusal
        return None

    def _check_first(self, chunk: Chunk, held: _Slot | None) -> Refusal | None:
        slot, most = chunk.slot, self._info.max_slots
        if not 0 <= slot < most:
            return Refusal(RefusalCode.SLOT_OUT_OF_RANGE, f"slot {slot} is not in 0 … {most - 1}")
        if held is not None:
            return Refusal(RefusalCode.SLOT_IN_USE, f"slot {slot} holds {held.position} tokens of another sequence")
        if chunk.token_ids is None:
            return Refusal(RefusalCode.NO_SAMPLED_TOKEN, f"slot {slot}: a first chunk must bring its tokens")
        return None

    def _check_beginning(self, chunk: Chunk, released: frozenset[int]) -> Refusal | None:
        """Whether a sequence can begin where its first chunk does, which is at 0 or behind a prefix."""
        slot, source, position = chunk.slot, chunk.prefix_slot, chunk.first_position
        if source == NO_SLOT:
            return None if position == 0 else _position_mismatch(chunk, 0)
        if not self._info.copies_prefixes:
            return Refusal(RefusalCode.UNSUPPORTED, f"slot {slot}: this executor copies no prefixes")
        held = None if source in released else self._slots.get(source)
        if held is None:
            return Refusal(RefusalCode.UNKNOWN_SLOT, f"slot {slot}: prefix_slot {source} holds nothing to copy")
        if not 0 < position <= held.position:
            message = f"slot {slot}: 1 … {held.position} positions of slot {source} can be copied; not {position}"
            return Refusal(RefusalCode.POSITION_MISMATCH, message)
        block_tokens = self._info.kv_block_tokens
        if position % block_tokens:
            message = f"slot {slot}: whole blocks of {block_tokens} positions can be copied; not {position}"
            return Refusal(RefusalCode.POSITION_MISMATCH, message)
        return None

    def _check_next(self, chunk: Chunk, held: _Slot | None) -> Refusal | None:
        slot, most = chunk.slot, self._info.max_slots
        if held is None:
            if not 0 <= slot < most:
                return Refusal(RefusalCode.SLOT_OUT_OF_RANGE, f"slot {slot} is not in 0 … {most - 1}")
            return Refusal(RefusalCode.UNKNOWN_SLOT, f"slot {slot} holds nothing; a first chunk must bring sampling")
        if chunk.prefix_slot != NO_SLOT:
            return Refusal(RefusalCode.UNSUPPORTED, f"slot {slot}: only a first chunk may copy a prefix")
        if chunk.first_position != held.position:
            return _position_mismatch(chunk, held.position)
        if chunk.token_ids is None and not held.sampled:
            return Refusal(RefusalCode.NO_SAMPLED_TOKEN, f"slot {slot}: its last chunk drew no token to go on from")
        return None

    def _check_tokens(self, chunk: Chunk) -> Refusal | None:
        if chunk.num_tokens < 1:
            return Refusal(
                RefusalCode.MALFORMED, f"slot {chunk.slot}: {chunk.num_tokens} tokens; at least one must be run"
            )
        end, most = chunk.first_position + chunk.num_tokens, self._info.max_context_tokens
        if end > most:
            return Refusal(RefusalCode.CONTEXT_EXCEEDED, f"slot {chunk.slot}: {end} tokens; at most {most} fit")
        vocab_size = self._info.vocab_size
        if chunk.token_ids is not None and not (min(chunk.token_ids) >= 0 and max(chunk.token_ids) < vocab_size):
            return Refusal(RefusalCode.BAD_TOKEN, f"slot {chunk.slot}: a token id is not in 0 … {vocab_size - 1}")
        return None

    def _check_room(self, chunks: tuple[Chunk, ...], released: Iterable[int]) -> Refusal | None:
        blocks = self._blocks
        leaving = [self._slots[slot] for slot in released]
        freed = sum(map(self._unshared_blocks, leaving))
        freed += count_released(held.prefix for held in leaving if held.prefix is not None)
        added = sum(blocks(c.first_position + c.num_tokens) - blocks(c.first_position) for c in chunks)
        free = self._info.kv_blocks_total - self.blocks_used + freed
        if added > free:
            return Refusal(RefusalCode.KV_FULL, f"{added} KV blocks wanted; {free} are free")
        return None


def check_sampling(slot: int, sampling: Sampling) -> Refusal | None:
    """Why tokens cannot be drawn like this, or None; NaN fits no range."""
    rules = {
        "temperature": 0 <= sampling.temperature < math.inf,
        "top_p": 0 < sampling.top_p <= 1,
        "top_k": sampling.top_k >= 0,
        "first_draw": sampling.first_draw >= 0,
        "min_p": sampling.min_p == 0,
        "repetition_penalty": sampling.repetition_penalty == 1,
        "presence_penalty": sampling.presence_penalty == 0,
        "frequency_penalty": sampling.frequency_penalty == 0,
        "num_logprobs": sampling.num_logprobs == 0,
    }
    for field, can_be_done in rules.items():
        if not can_be_done:
            value = getattr(sampling, field)
            return Refusal(RefusalCode.UNSUPPORTED, f"slot {slot}: {field} {value} cannot be done")
    return None


def _position_mismatch(chunk: Chunk, position: int) -> Refusal:
    return Refusal(
        RefusalCode.POSITION_MISMATCH,
        f"slot {chunk.slot}: the chunk begins at {chunk.first_position}, the slot is at {position}",
    )
