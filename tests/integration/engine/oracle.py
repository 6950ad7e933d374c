"""llama.cpp driven directly and greedily: what the engine's tokens are compared with."""

from collections.abc import Sequence

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

from services.engine.settings import EngineSettings
from shared.step import NO_TOKEN, Chunk

BATCH_TOKENS = 512


class Oracle:
    """Runs chunks as the engine should, in a context of its own."""

    def __init__(self, kv_tokens: int) -> None:
        disable_logging()
        settings = EngineSettings()
        self._model = LlamaModel(str(settings.model_path), LlamaModelParams())
        params = LlamaContextParams()
        params.n_ctx = kv_tokens
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = 24
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = settings.threads
        self._context = LlamaContext(self._model, params)
        self._batch = LlamaBatch(n_tokens=BATCH_TOKENS, embd=0, n_seq_max=1)
        self._greedy = LlamaSampler(LlamaSamplerChainParams())
        self._greedy.add_greedy()
        self._last: dict[int, int] = {}

    def tokenize(self, text: str) -> tuple[int, ...]:
        return tuple(self._model.get_vocab().tokenize(text, False, True))

    def detokenize(self, token_ids: Sequence[int]) -> str:
        return str(self._model.get_vocab().detokenize(list(token_ids)))

    def clear(self) -> None:
        self._context.kv_cache_clear()
        self._last.clear()

    def step(self, chunks: Sequence[Chunk]) -> tuple[int, ...]:
        """One token per chunk, as the engine answers."""
        self._batch.clear()
        ends = []
        for chunk in chunks:
            for i, token_id in enumerate(chunk.token_ids or (self._last[chunk.slot],)):
                wanted = chunk.sample and i == chunk.num_tokens - 1
                self._batch.add(token_id, chunk.first_position + i, [chunk.slot], wanted)
            ends.append(self._batch.n_tokens - 1)
        self._context.decode(self._batch)
        for chunk, end in zip(chunks, ends, strict=True):
            self._last[chunk.slot] = self._greedy.sample(self._context, end) if chunk.sample else NO_TOKEN
        return tuple(self._last[chunk.slot] for chunk in chunks)
