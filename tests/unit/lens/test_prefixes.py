from services.lens.prefixes import Prefix, PrefixTree

PROMPT = tuple(range(12))


def held(tenant: str = "", num_tokens: int = 12) -> PrefixTree:
    tree = PrefixTree(block_tokens=4)
    tree.extend(7, tenant, PROMPT, num_tokens)
    return tree


def test_the_longest_common_beginning_is_found_in_whole_blocks():
    assert held().longest("", (*PROMPT[:10], 99, 99)) == Prefix(7, 8)


def test_never_all_of_a_prompt_is_found_since_one_token_must_be_run():
    assert held().longest("", PROMPT) == Prefix(7, 8)
    assert held().longest("", (*PROMPT, 12)) == Prefix(7, 12)


def test_a_beginning_shorter_than_a_block_is_none():
    assert held().longest("", PROMPT[:4]) is None
    assert held().longest("", (0, 1, 2, 99, 99)) is None


def test_a_block_counts_once_it_is_full():
    assert held(num_tokens=7).longest("", PROMPT) == Prefix(7, 4)


def test_another_tenant_finds_nothing():
    assert held("a").longest("b", PROMPT) is None


def test_a_text_that_goes_on_is_known_from_where_it_was():
    tree = held(num_tokens=6)
    tree.extend(7, "", PROMPT, 12)
    assert tree.longest("", (*PROMPT, 0)) == Prefix(7, 12)


def test_the_slot_that_came_to_hold_it_last_is_named():
    tree = held()
    tree.extend(8, "", PROMPT, 8)
    assert tree.longest("", PROMPT) == Prefix(8, 8)
    assert tree.longest("", (*PROMPT, 0)) == Prefix(7, 12)


def test_what_is_forgotten_is_not_found_but_what_another_slot_holds_is():
    tree = held()
    tree.extend(8, "", PROMPT, 4)
    tree.forget(7)
    assert tree.longest("", (*PROMPT, 0)) == Prefix(8, 4)
    tree.forget(8)
    assert tree.longest("", (*PROMPT, 0)) is None
    assert tree.num_blocks == 0
