from services.lens.prefixes import PrefixTree

PROMPT = tuple(range(12))


def found(tree: PrefixTree, tenant: str, token_ids: tuple[int, ...]) -> tuple[int, int] | None:
    prefix = tree.longest(tenant, token_ids)
    return None if prefix is None else (prefix.slot, prefix.num_tokens)


def held(tenant: str = "", num_tokens: int = 12) -> PrefixTree:
    tree = PrefixTree(block_tokens=4)
    tree.extend(7, tenant, PROMPT, num_tokens)
    return tree


def test_the_longest_common_beginning_is_found_in_whole_blocks():
    assert found(held(), "", (*PROMPT[:10], 99, 99)) == (7, 8)


def test_never_all_of_a_prompt_is_found_since_one_token_must_be_run():
    assert found(held(), "", PROMPT) == (7, 8)
    assert found(held(), "", (*PROMPT, 12)) == (7, 12)


def test_a_beginning_shorter_than_a_block_is_none():
    assert found(held(), "", PROMPT[:4]) is None
    assert found(held(), "", (0, 1, 2, 99, 99)) is None


def test_a_block_counts_once_it_is_full():
    assert found(held(num_tokens=7), "", PROMPT) == (7, 4)


def test_another_tenant_finds_nothing():
    assert found(held("a"), "b", PROMPT) is None


def test_a_text_that_goes_on_is_known_from_where_it_was():
    tree = held(num_tokens=6)
    tree.extend(7, "", PROMPT, 12)
    assert found(tree, "", (*PROMPT, 0)) == (7, 12)


def test_the_slot_that_came_to_hold_it_last_is_named():
    tree = held()
    tree.extend(8, "", PROMPT, 8)
    assert found(tree, "", PROMPT) == (8, 8)
    assert found(tree, "", (*PROMPT, 0)) == (7, 12)


def test_what_is_forgotten_is_not_found_but_what_another_slot_holds_is():
    tree = held()
    tree.extend(8, "", PROMPT, 4)
    tree.forget(7)
    assert found(tree, "", (*PROMPT, 0)) == (8, 4)
    tree.forget(8)
    assert found(tree, "", (*PROMPT, 0)) is None


def test_what_was_found_before_is_gone_on_from_and_forgotten_if_nobody_holds_it_any_more():
    tree = held(num_tokens=4)
    before = tree.longest("", (*PROMPT, 0))
    tree.extend(8, "", PROMPT, 12)
    tree.forget(7)
    after = tree.longest("", (*PROMPT, 0), before)
    assert after is not None
    assert (after.slot, after.num_tokens) == (8, 12)
    tree.forget(8)
    assert tree.longest("", (*PROMPT, 0), after) is None
