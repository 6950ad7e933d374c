"""The llama.cpp executor: a real small language model on any CPU; one step is one `llama_decode`.

llama.cpp aborts the process on some mistakes and silently accepts others, so it relies on every plan having been
checked by `slots`: slots and positions in range, no more tokens than the batch holds.
"""

from collections.abc import Sequence

import msgspec
from cyllama.llama.llama_cpp import (
    LlamaBatch,
    LlamaContext,
    LlamaContextParams,
    LlamaModel,
    LlamaModelParams,
    LlamaSampler,
    LlamaSamplerChainParams,
    disable_logging,
)

from services.engine.draws import draw_number
from services.engine.settings import EngineSettings
from shared.step import NO_SLOT, NO_TOKEN, Chunk, EngineInfo, Sampling

LLAMA_RANDOM_SEED = 0xFFFFFFFF
"""What llama.cpp takes for "choose a seed yourself"."""


class _Sequence(msgspec.Struct):
    """What the executor keeps of the sequence in a slot."""

    sampling: Sampling
    next_draw: int
    last_sampled: int = NO_TOKEN


class LlamaCppExecutor:
    """Slots are llama.cpp's sequence ids, in one unified cache: a copied prefix is the same cells under two ids."""

    def __init__(self, settings: EngineSettings) -> None:
        disable_logging()
        self._model = LlamaModel(str(settings.model_path), LlamaModelParams())
        self._context = LlamaContext(self._model, _context_params(settings))
        max_step_tokens = min(settings.max_step_tokens, self._context.n_batch)
        self._batch = LlamaBatch(n_tokens=max_step_tokens, embd=0, n_seq_max=1)
        self._sequences: dict[int, _Sequence] = {}
        self._greedy = _chain()
        self._greedy.add_greedy()
        kv_blocks_total = settings.kv_tokens // settings.kv_block_tokens
        self.info = EngineInfo(
            executor="llamacpp",
            model=settings.model_name,
            hardware_class=settings.hardware_class,
            emulated=False,
            vocab_size=self._model.get_vocab().n_vocab,
            max_slots=settings.slots,
            max_step_tokens=max_step_tokens,
            max_context_tokens=min(
                settings.max_context_tokens, self._model.n_ctx_train, kv_blocks_total * settings.kv_block_tokens
            ),
            kv_block_tokens=settings.kv_block_tokens,
            kv_blocks_total=kv_blocks_total,
            copies_prefixes=not (self._model.is_recurrent() or self._model.is_hybrid()),
        )

    def run(self, chunks: Sequence[Chunk], _came_s: float = 0.0) -> list[int]:
        """Copy what prefixes are to be copied, run the chunks as one batch, and draw where asked.

        Raises:
            ValueError, RuntimeError: llama.cpp refused or failed; only `reset` makes the executor usable again.
        """
        for chunk in chunks:
            if chunk.prefix_slot != NO_SLOT:
                self._context.memory_seq_cp(chunk.prefix_slot, chunk.slot, 0, chunk.first_position)
        self._batch.clear()
        last_indices = [self._add(chunk) for chunk in chunks]
        self._context.decode(self._batch)
        return [
            self._draw(self._sequences[chunk.slot], index) if chunk.sample else NO_TOKEN
            for chunk, index in zip(chunks, last_indices, strict=True)
        ]

    def release(self, slot: int) -> None:
        """Free the slot's part of the cache, but for what was copied from it."""
        del self._sequences[slot]
        self._context.memory_seq_rm(slot, -1, -1)

    def reset(self) -> None:
        """Empty the cache."""
        self._sequences.clear()
        self._context.kv_cache_clear()

    def _add(self, chunk: Chunk) -> int:
        """Put the chunk into the batch; returns the index of its last token there."""
        if chunk.sampling is not None:
            self._sequences[chunk.slot] = _Sequence(chunk.sampling, next_draw=chunk.sampling.first_draw)
        token_ids = (self._sequences[chunk.slot].last_sampled,) if chunk.token_ids is None else chunk.token_ids
        last = len(token_ids) - 1
        for i, token_id in enumerate(token_ids):
            self._batch.add(token_id, chunk.first_position + i, [chunk.slot], chunk.sample and i == last)
        index: int = self._batch.n_tokens - 1
        return index

    def _draw(self, sequence: _Sequence, index: int) -> int:
        sampler = self._greedy
        if sequence.sampling.temperature > 0:
            sampler = _drawing_chain(sequence.sampling, sequence.next_draw)
        token_id: int = sampler.sample(self._context, index)
        sequence.last_sampled = token_id
        sequence.next_draw += 1
        return token_id


def draw_seed(seed: int, draw: int) -> int:
    """The seed that llama.cpp gets for one draw."""
    return min(draw_number(seed, draw), LLAMA_RANDOM_SEED - 1)


def _drawing_chain(sampling: Sampling, draw: int) -> LlamaSampler:
    """A chain for one draw: without state between draws, a draw depends on its seed and number alone (2 µs to build)."""
    chain = _chain()
    if sampling.top_k > 0:
        chain.add_top_k(sampling.top_k)
    if sampling.top_p < 1:
        chain.add_top_p(sampling.top_p, 1)
    chain.add_temp(sampling.temperature)
    chain.add_dist(draw_seed(sampling.seed, draw))
    return chain


def _chain() -> LlamaSampler:
    return LlamaSampler(LlamaSamplerChainParams())


def _context_params(settings: EngineSettings) -> LlamaContextParams:
    params = LlamaContextParams()
    params.n_ctx = settings.kv_tokens
    params.n_batch = params.n_ubatch = settings.max_step_tokens
    params.n_seq_max = settings.slots
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = settings.threads
    return params
