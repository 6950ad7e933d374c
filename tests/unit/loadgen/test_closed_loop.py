import asyncio
import time

from loadgen.closed_loop import send_in_turn
from loadgen.outcome import Outcome
from loadgen.workload import Request
from shared.slo import Slo

REQUESTS = [Request(arrival_s=0.0, prompt=f"Hello {number}", max_tokens=1, slo=Slo()) for number in range(10)]


async def test_no_more_are_sent_at_once_than_there_are_clients() -> None:
    open_now, most_open = 0, 0

    async def send(request: Request) -> Outcome:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        await asyncio.sleep(0.001)
        open_now -= 1
        return Outcome(request=request, sent_s=request.arrival_s)

    told: list[Outcome] = []
    outcomes = await send_in_turn(REQUESTS, send, told.append, started_at_s=time.monotonic(), clients=3)
    assert most_open == 3
    assert sorted(outcome.request.prompt_text for outcome in outcomes) == sorted(one.prompt_text for one in REQUESTS)
    assert len(told) == len(REQUESTS)


async def test_arrivals_are_the_instants_at_which_a_client_was_ready() -> None:
    async def send(request: Request) -> Outcome:
        await asyncio.sleep(0.01)
        return Outcome(request=request, sent_s=request.arrival_s)

    outcomes = await send_in_turn(
        REQUESTS[:3], send, lambda _: None, started_at_s=time.monotonic(), clients=1, think_s=0.02
    )
    first, second, third = (outcome.request.arrival_s for outcome in outcomes)
    assert second - first >= 0.03
    assert third - second >= 0.03


async def test_a_run_is_over_with_its_last_answer_however_long_clients_would_think() -> None:
    async def send(request: Request) -> Outcome:
        await asyncio.sleep(0.01)
        return Outcome(request=request, sent_s=request.arrival_s)

    began_s = time.monotonic()
    await send_in_turn(REQUESTS[:3], send, lambda _: None, started_at_s=began_s, clients=3, think_s=60.0)
    assert time.monotonic() - began_s < 30.0
