"""The device's thread over a made-up executor: order, answers, failures."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from services.engine.device import Device
from shared.step import NO_TOKEN, Chunk, OpenEpoch, Probe, Refusal, RefusalCode, StepPlan, StepResult
from tests.unit.engine.builders import BOOT_ID, INFO, changed, decode, first, plan

WAIT_S = 5.0


class FakeExecutor:
    """Samples the slot's number; waits and fails as told."""

    info = INFO

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Event()
        self.error: Exception | None = None

    def run(self, chunks: Sequence[Chunk], _came_s: float) -> list[int]:
        self.running.set()
        assert self.gate.wait(WAIT_S)
        self.calls.append(f"run {[chunk.slot for chunk in chunks]}")
        if self.error is not None:
            raise self.error
        return [chunk.slot if chunk.sample else NO_TOKEN for chunk in chunks]

    def release(self, slot: int) -> None:
        self.calls.append(f"release {slot}")

    def reset(self) -> None:
        self.calls.append("reset")
        if self.error is not None:
            raise self.error


class Client:
    """Sends to a device and takes its answers in the order in which they come."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._answers: queue.Queue[StepResult] = queue.Queue()

    def send(self, *requests: StepPlan | OpenEpoch | Probe) -> None:
        for request in requests:
            self.device.submit(request, self._answers.put)

    def send_unreadable(self) -> None:
        self.device.refuse(Refusal(RefusalCode.MALFORMED, "no header"), self._answers.put)

    def receive(self) -> StepResult:
        return self._answers.get(timeout=WAIT_S)

    def ask(self, request: StepPlan | OpenEpoch | Probe) -> StepResult:
        self.send(request)
        return self.receive()


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def client(executor) -> Iterator[Client]:
    device = Device(executor, BOOT_ID, most_waiting=2)
    client = Client(device)
    assert client.ask(OpenEpoch()).epoch == 1
    yield client
    executor.gate.set()
    device.stop()


def code(result: StepResult) -> RefusalCode | None:
    return None if result.refusal is None else result.refusal.code


def test_a_step_is_released_for_then_run_then_answered(client, executor):
    client.ask(plan(first(0, 5), first(1, 3, sample=False)))
    result = client.ask(plan(decode(0, 5), step=2, released=(1,)))
    assert executor.calls == ["reset", "run [0, 1]", "release 1", "run [0]"]
    assert (result.boot_id, result.epoch, result.step) == (BOOT_ID, 1, 2)
    assert result.sampled_ids == (0,)
    assert result.kv_blocks_used == 2
    assert result.duration_s > 0


def test_a_chunk_that_asks_for_no_token_gets_none(client):
    assert client.ask(plan(first(0, 5), first(1, 3, sample=False))).sampled_ids == (0, NO_TOKEN)


def test_an_empty_plan_is_a_step_too(client, executor):
    assert client.ask(plan()).refusal is None
    assert client.ask(plan(step=2)).step == 2
    assert executor.calls == ["reset"]


def test_a_refused_plan_runs_nothing_and_neither_does_what_follows(client, executor):
    refused = client.ask(plan(decode(3, 9), released=()))
    assert (code(refused), refused.step) == (RefusalCode.UNKNOWN_SLOT, 1)
    assert code(client.ask(plan(first(0, 1), step=2))) == RefusalCode.POISONED_EPOCH
    assert executor.calls == ["reset"]


def test_a_new_epoch_empties_the_engine_and_serves_again(client):
    client.ask(plan(first(0, 5)))
    client.ask(plan(decode(0, 99), step=2))
    opened = client.ask(OpenEpoch())
    assert (opened.epoch, opened.info, opened.kv_blocks_used) == (2, INFO, 0)
    assert client.ask(plan(first(0, 5), epoch=2)).refusal is None


def test_an_answer_names_the_step_that_was_refused_not_the_current_one(client):
    stale = client.ask(plan(epoch=0, step=9))
    assert (code(stale), stale.epoch, stale.step) == (RefusalCode.STALE_EPOCH, 0, 9)
    assert client.ask(plan()).refusal is None


def test_a_probe_answers_and_changes_nothing(client):
    client.ask(plan(first(0, 5)))
    probed = client.ask(Probe())
    assert (probed.info, probed.epoch, probed.step, probed.kv_blocks_used) == (INFO, 1, 1, 2)
    assert client.ask(plan(decode(0, 5), step=2)).refusal is None


def test_an_executor_that_fails_ends_the_epoch_and_not_the_thread(client, executor):
    executor.error = ValueError("no KV slot")
    failed = client.ask(plan(first(0, 5)))
    assert failed.refusal == Refusal(RefusalCode.EXECUTOR_FAILED, "ValueError: no KV slot")
    executor.error = None
    assert code(client.ask(plan(first(1, 5), step=2))) == RefusalCode.POISONED_EPOCH
    client.ask(OpenEpoch())
    assert client.ask(plan(first(0, 5), epoch=2)).refusal is None


def test_an_executor_that_cannot_be_reset_opens_no_epoch(client, executor):
    executor.error = RuntimeError("gone")
    opened = client.ask(OpenEpoch())
    assert (code(opened), opened.info) == (RefusalCode.EXECUTOR_FAILED, None)
    executor.error = None
    assert code(client.ask(plan(epoch=2))) == RefusalCode.POISONED_EPOCH


def test_a_request_that_cannot_be_read_ends_the_epoch(client):
    client.send_unreadable()
    assert code(client.receive()) == RefusalCode.MALFORMED
    assert code(client.ask(plan())) == RefusalCode.POISONED_EPOCH


def test_a_plan_beyond_the_bound_is_refused_in_its_turn_and_a_new_epoch_still_gets_in(client, executor):
    executor.gate.clear()
    executor.running.clear()
    client.send(plan(first(0, 1)))
    assert executor.running.wait(WAIT_S)
    client.send(*(plan(decode(0, step - 1), step=step) for step in (2, 3, 4, 5)), Probe(), OpenEpoch())
    executor.gate.set()
    answers = [client.receive() for _ in range(7)]
    assert [answer.step for answer in answers] == [1, 2, 3, 4, 5, 4, 0]
    assert [code(answer) for answer in answers[:5]] == [
        None,
        None,
        None,
        RefusalCode.QUEUE_FULL,
        RefusalCode.POISONED_EPOCH,
    ]
    assert answers[-1].epoch == 2


def test_an_answer_that_cannot_be_delivered_stops_nothing(client):
    def fail(_result: StepResult) -> None:
        raise ConnectionError("the client has gone")

    client.device.submit(plan(first(0, 5)), fail)
    assert client.ask(plan(decode(0, 5), step=2)).refusal is None


def test_stopping_answers_what_was_taken_before(executor):
    device = Device(executor, BOOT_ID)
    client = Client(device)
    client.send(OpenEpoch(), plan(first(0, 5)), plan(decode(0, 5), step=2))
    device.stop()
    assert [client.receive().step for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "spoil",
    [lambda chunk: changed(chunk, first_position=1), lambda chunk: changed(chunk, token_ids=(0, 0, 0, 0, 999))],
)
def test_one_bad_chunk_stops_the_good_ones_of_its_plan_too(client, executor, spoil: Callable[[Chunk], Chunk]):
    assert client.ask(plan(first(0, 5), spoil(first(1, 5)))).kv_blocks_used == 0
    assert executor.calls == ["reset"]
