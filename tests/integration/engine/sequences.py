"""Sequences as a scheduler would run them: whole prompts in chunks, then decodes."""

from collections.abc import Sequence

from shared.step import Chunk, Sampling

GREEDY = Sampling(seed=0, temperature=0.0)
PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived an old fisherman who",
    "def fibonacci(n):\n    ",
    "Water boils at",
    "The three most important inventions of the nineteenth century were",
    "My favourite season is autumn, because",
)


def prefill(slot: int, token_ids: Sequence[int], sampling: Sampling = GREEDY) -> Chunk:
    """A whole prompt in one chunk."""
    return Chunk(slot, 0, len(token_ids), tuple(token_ids), sample=True, sampling=sampling)


def decode(slot: int, position: int) -> Chunk:
    """One token more."""
    return Chunk(slot, position, 1, None, sample=True)


def staggered(prompts: Sequence[Sequence[int]], num_steps: int, chunk_tokens: int) -> list[list[Chunk]]:
    """Steps in which a prompt starts every other step, chunk by chunk, while those before it decode."""
    done = [0] * len(prompts)
    steps = []
    for step in range(num_steps):
        chunks = []
        for slot, prompt in enumerate(prompts[: step // 2 + 1]):
            position = done[slot]
            if position >= len(prompt):
                chunks.append(decode(slot, position))
            else:
                given = tuple(prompt[position : position + chunk_tokens])
                is_last = position + len(given) == len(prompt)
                chunks.append(Chunk(slot, position, len(given), given, is_last, None if position else GREEDY))
            done[slot] += chunks[-1].num_tokens
        steps.append(chunks)
    return steps
