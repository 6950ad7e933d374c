import asyncio
import time

from loadgen.open_loop import send_all
from loadgen.outcome import Outcome
from loadgen.workload import Request
from shared.slo import Slo


def request(arrival_s: float) -> Request:
    return Request(arrival_s=arrival_s, prompt="Hello", max_tokens=1, slo=Slo())


async def test_a_request_is_sent_while_those_before_it_wait_for_their_answers() -> None:
    all_are_sent = asyncio.Event()
    sent: list[Request] = []

    async def send(request: Request) -> Outcome:
        sent.append(request)
        if len(sent) == 3:
            all_are_sent.set()
        await asyncio.wait_for(all_are_sent.wait(), timeout=5)
        return Outcome(request=request, sent_s=0.0)

    requests = [request(arrival_s) for arrival_s in (0.0, 0.01, 0.02)]
    told: list[Outcome] = []
    outcomes = await send_all(requests, send, told.append, started_at_s=time.monotonic())
    assert [outcome.request for outcome in outcomes] == requests
    assert len(told) == 3


async def test_no_request_is_sent_before_it_arrives() -> None:
    async def send(request: Request) -> Outcome:
        return Outcome(request=request, sent_s=time.monotonic() - started_at_s)

    started_at_s = time.monotonic()
    (outcome,) = await send_all([request(0.05)], send, lambda _: None, started_at_s=started_at_s)
    assert outcome.sent_s >= 0.05


async def test_what_is_due_is_sent_at_once_however_far_behind_the_loop_is() -> None:
    sent: list[float] = []

    async def send(request: Request) -> Outcome:
        sent.append(time.monotonic())
        time.sleep(0.02)  # noqa: ASYNC251 - a loop with too much to do
        await asyncio.sleep(0)
        time.sleep(0.02)  # noqa: ASYNC251
        return Outcome(request=request, sent_s=0.0)

    await send_all([request(0.0)] * 5, send, lambda _: None, started_at_s=time.monotonic() - 1.0)
    assert sent[-1] - sent[0] < 5 * 0.02 + 0.02
