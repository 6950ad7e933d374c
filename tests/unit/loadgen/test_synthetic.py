from hypothesis import given
from hypothesis import strategies as st

from loadgen.synthetic import BLOCK_TOKENS, Synthetic


@given(st.integers(1, 3000), st.lists(st.integers(0, 2**63), max_size=5), st.integers(0, 2**32))
def test_a_prompt_has_as_many_words_as_tokens_were_asked_for(tokens, ids, seed):
    prompt = Synthetic(tokens=tokens, prefix_ids=tuple(ids), seed=seed)
    assert len(prompt.text.split()) == tokens
    assert prompt.text == Synthetic(tokens=tokens, prefix_ids=tuple(ids), seed=seed).text


def test_equal_ids_are_equal_text_wherever_they_stand():
    one = Synthetic(tokens=1200, prefix_ids=(4, 9), seed=1).text.split()
    other = Synthetic(tokens=1100, prefix_ids=(9, 4), seed=2).text.split()
    assert one[:BLOCK_TOKENS] == other[BLOCK_TOKENS : 2 * BLOCK_TOKENS]
    assert one[BLOCK_TOKENS : 2 * BLOCK_TOKENS] == other[:BLOCK_TOKENS]


def test_prompts_of_other_seeds_share_nothing_at_the_start():
    one, other = (Synthetic(tokens=64, seed=seed).text for seed in (1, 2))
    assert one.split()[:8] != other.split()[:8]
