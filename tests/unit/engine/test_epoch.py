"""The order of steps, and what a refusal does to an epoch."""

import msgspec
import pytest

from services.engine.epoch import EpochGate
from shared.step import Refusal, RefusalCode
from tests.unit.engine.builders import BOOT_ID, plan


@pytest.fixture
def gate() -> EpochGate:
    gate = EpochGate(BOOT_ID)
    gate.open()
    return gate


def code(refusal: Refusal | None) -> RefusalCode | None:
    return None if refusal is None else refusal.code


def test_steps_are_admitted_one_after_the_other(gate):
    assert [gate.admit(plan(step=step)) for step in (1, 2, 3)] == [None, None, None]


def test_nothing_is_admitted_before_an_epoch_is_opened():
    assert code(EpochGate(BOOT_ID).admit(plan(epoch=0))) == RefusalCode.POISONED_EPOCH


def test_each_opening_begins_a_higher_epoch_at_step_1(gate):
    gate.admit(plan(step=1))
    gate.open()
    assert (gate.epoch, gate.last_step) == (2, 0)
    assert gate.admit(plan(epoch=2, step=1)) is None


@pytest.mark.parametrize("step", [0, 1, 3, -1])
def test_a_step_that_does_not_follow_is_refused_and_poisons(gate, step):
    gate.admit(plan(step=1))
    assert code(gate.admit(plan(step=step))) == RefusalCode.STEP_OUT_OF_ORDER
    assert code(gate.admit(plan(step=2))) == RefusalCode.POISONED_EPOCH


def test_a_poisoned_epoch_says_what_poisoned_it_first(gate):
    gate.poison(Refusal(RefusalCode.KV_FULL, "no room"))
    gate.poison(Refusal(RefusalCode.BAD_TOKEN, "later"))
    refusal = gate.admit(plan(step=1))
    assert refusal is not None
    assert "kv_full: no room" in refusal.message


def test_a_new_epoch_is_not_poisoned(gate):
    gate.poison(Refusal(RefusalCode.KV_FULL, "no room"))
    gate.open()
    assert gate.admit(plan(epoch=2)) is None


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_plan_of_another_epoch_is_refused_and_harms_nothing(gate, epoch):
    gate.open()
    assert code(gate.admit(plan(epoch=epoch))) == RefusalCode.STALE_EPOCH
    assert gate.admit(plan(epoch=2)) is None


def test_a_plan_of_another_boot_is_refused_and_harms_nothing(gate):
    assert code(gate.admit(msgspec.structs.replace(plan(), boot_id=BOOT_ID + 1))) == RefusalCode.WRONG_BOOT
    assert gate.admit(plan()) is None
