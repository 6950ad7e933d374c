"""Which tokens come out: the crowd around a sequence, and how it was cut into chunks, must not matter."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from shared.step import Chunk, Sampling
from tests.integration.engine.sequences import GREEDY, PROMPTS, decode, prefill

AGREEMENT = 0.99


def teacher_forced(engine, texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The token that the engine would choose after each position of each text, all texts in the same steps."""
    chosen: list[list[int]] = [[] for _ in texts]
    for position in range(max(map(len, texts))):
        slots = [slot for slot, text in enumerate(texts) if position < len(text)]
        sampling = GREEDY if position == 0 else None
        chunks = [Chunk(slot, position, 1, (texts[slot][position],), sample=True, sampling=sampling) for slot in slots]
        for slot, token_id in zip(slots, engine.step(*chunks).sampled_ids, strict=True):
            chosen[slot].append(token_id)
    return chosen


def test_alone_and_in_a_crowd_the_same_token_is_chosen_at_99_percent_of_positions(engine, oracle):
    text = " ".join(PROMPTS) + " " + " ".join(reversed(PROMPTS))
    texts = [oracle.tokenize(text[start * 20 :] + text[: start * 20])[:64] for start in range(8)]
    crowd = teacher_forced(engine, texts)
    alone = []
    for crowd_text in texts:
        engine.open_epoch()
        alone += teacher_forced(engine, [crowd_text])
    pairs = [pair for a, b in zip(crowd, alone, strict=True) for pair in zip(a, b, strict=True)]
    assert len(pairs) >= 500
    assert sum(a == b for a, b in pairs) >= AGREEMENT * len(pairs)


@pytest.fixture(params=[{}, {"top_k": 40}, {"top_p": 0.9}, {"top_k": 50, "top_p": 0.8, "temperature": 0.7}], ids=str)
def sampling(request) -> Sampling:
    return Sampling(**{"seed": -(2**62) - 5, **request.param})


NUM_DRAWS = 8


def draws(engine, prompt: tuple[int, ...], sampling: Sampling, *crowd: tuple[int, ...]) -> list[int]:
    """Tokens of a sequence in slot 0, the crowd's sequences around it."""
    engine.open_epoch()
    sequences = [(prompt, sampling), *((tokens, Sampling(seed=slot)) for slot, tokens in enumerate(crowd))]
    sampled = [engine.step(*(prefill(slot, tokens, s) for slot, (tokens, s) in enumerate(sequences))).sampled_ids[0]]
    for i in range(NUM_DRAWS - 1):
        chunks = [decode(slot, len(tokens) + i) for slot, (tokens, _) in enumerate(sequences)]
        sampled.append(engine.step(*chunks).sampled_ids[0])
    return sampled


def recomputed(engine, prompt: tuple[int, ...], sampling: Sampling, drawn: list[int]) -> Iterator[int]:
    """The next token after each beginning of what was drawn, recomputed in another slot."""
    for num_drawn in range(len(drawn)):
        engine.open_epoch()
        again = msgspec.structs.replace(sampling, first_draw=num_drawn)
        yield engine.step(prefill(3, (*prompt, *drawn[:num_drawn]), again)).sampled_ids[0]


def test_a_draw_depends_on_its_seed_and_number_and_not_on_the_crowd(engine, oracle, sampling):
    prompt, *crowd = map(oracle.tokenize, PROMPTS[:4])
    alone = draws(engine, prompt, sampling)
    assert draws(engine, prompt, sampling) == alone
    assert draws(engine, prompt, sampling, *crowd) == alone


def test_a_recomputed_sequence_draws_on_as_it_would_have(engine, oracle, sampling):
    prompt = oracle.tokenize(PROMPTS[0])
    drawn = draws(engine, prompt, sampling)
    assert list(recomputed(engine, prompt, sampling, drawn)) == drawn


def test_another_seed_draws_other_tokens(engine, oracle):
    prompt = oracle.tokenize(PROMPTS[1])
    assert len({tuple(draws(engine, prompt, Sampling(seed=seed))) for seed in range(3)}) == 3


def test_a_temperature_near_0_and_a_top_k_of_1_draw_as_greedily_as_greedy(engine, oracle):
    prompt = oracle.tokenize(PROMPTS[0])
    greedy = draws(engine, prompt, GREEDY)
    assert draws(engine, prompt, Sampling(seed=1, top_k=1)) == greedy
    assert draws(engine, prompt, Sampling(seed=1, temperature=1e-4)) == greedy
