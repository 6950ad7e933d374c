import pytest

from services.lens.blocks import BlockLedger, KvFull


def test_a_sequence_holds_whole_blocks():
    ledger = BlockLedger(total_blocks=10, block_tokens=16)
    ledger.hold(0, 17)
    assert (ledger.held_blocks(0), ledger.free_blocks) == (2, 8)


def test_a_sequence_that_grows_takes_only_the_blocks_that_it_lacks():
    ledger = BlockLedger(total_blocks=10, block_tokens=16)
    ledger.hold(0, 17)
    ledger.grow(0, 32)
    assert ledger.free_blocks == 8
    ledger.grow(0, 33)
    assert ledger.free_blocks == 7


def test_what_is_released_is_free_again():
    ledger = BlockLedger(total_blocks=2, block_tokens=16)
    ledger.hold(0, 32)
    ledger.release(0)
    assert ledger.free_blocks == 2


def test_a_full_cache_is_refused_with_what_was_wanted_and_takes_nothing():
    ledger = BlockLedger(total_blocks=2, block_tokens=16)
    with pytest.raises(KvFull) as full:
        ledger.hold(0, 33)
    assert (full.value.wanted_blocks, full.value.free_blocks, ledger.free_blocks) == (3, 2, 2)
    ledger.hold(0, 16)
    with pytest.raises(KvFull) as full:
        ledger.grow(0, 33)
    assert (full.value.wanted_blocks, full.value.free_blocks, ledger.free_blocks) == (2, 1, 1)


def test_a_shared_prefix_counts_once_until_nobody_holds_it():
    ledger = BlockLedger(total_blocks=10, block_tokens=16)
    ledger.hold(0, 64)
    ledger.hold(1, 48, prefix_slot=0, prefix_tokens=32)
    assert ledger.free_blocks == 5
    ledger.release(0)
    assert ledger.free_blocks == 7
    ledger.release(1)
    assert ledger.free_blocks == 10


def test_what_is_only_kept_can_be_had_but_is_not_free():
    ledger = BlockLedger(total_blocks=10, block_tokens=16)
    ledger.hold(0, 64)
    ledger.keep(0)
    assert (ledger.free_blocks, ledger.obtainable_blocks) == (6, 10)
    ledger.hold(1, 48, prefix_slot=0, prefix_tokens=32)
    assert (ledger.free_blocks, ledger.obtainable_blocks) == (5, 7)
    ledger.release(0)
    assert (ledger.free_blocks, ledger.obtainable_blocks) == (7, 7)
