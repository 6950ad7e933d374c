import pytest

from services.lens.blocks import BlockLedger, KvFull


def test_a_sequence_reserves_whole_blocks():
    ledger = BlockLedger(total_blocks=10, block_tokens=16)
    ledger.reserve(slot=0, tokens=17)
    assert ledger.free_blocks == 8


def test_what_is_released_is_free_again():
    ledger = BlockLedger(total_blocks=2, block_tokens=16)
    ledger.reserve(slot=0, tokens=32)
    ledger.release(slot=0)
    assert ledger.free_blocks == 2


def test_a_full_cache_is_refused_with_what_was_wanted_and_takes_nothing():
    ledger = BlockLedger(total_blocks=2, block_tokens=16)
    with pytest.raises(KvFull) as full:
        ledger.reserve(slot=0, tokens=33)
    assert (full.value.wanted_blocks, full.value.free_blocks, ledger.free_blocks) == (3, 2, 2)
