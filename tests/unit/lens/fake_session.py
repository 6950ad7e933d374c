"""An engine behind the step loop's own protocol: answers when told, or breaks."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable

from services.lens.session import EngineLost
from shared.step import NO_TOKEN, Probe, Refusal, StepPlan, StepResult
from tests.unit.lens.builders import engine_info

Tokens = Callable[[int, int], int]
"""(slot, how many tokens the slot has in the cache) → the token drawn."""


class FakeSession:
    """Draws tokens by a rule, at once; each `StepPlan` seen is kept."""

    def __init__(self, tokens: Tokens, epoch: int = 1, *, emulated: bool = True) -> None:
        self.info, self.boot_id, self.epoch = engine_info(max_step_tokens=64, emulated=emulated), 1, epoch
        self.probed = StepResult(boot_id=1, epoch=epoch, step=0, info=self.info)
        """What a probe beside the steps is answered."""
        self.probe_fails: Exception | None = None
        self.probes = 0
        self.plans: list[StepPlan] = []
        self.running = asyncio.Event()
        self.running.set()
        self.answers_left = math.inf
        """After so many more it is silent."""
        self.refuses: Refusal | None = None
        """What every plan is answered from now on."""
        self._tokens = tokens
        self._answers: asyncio.Queue[StepResult] = asyncio.Queue()
        self._broken = asyncio.Event()

    def send(self, request: StepPlan | Probe) -> None:
        if isinstance(request, Probe):
            self._answers.put_nowait(StepResult(boot_id=1, epoch=self.epoch, step=0))
            return
        self.plans.append(request)
        if self.refuses is not None:
            self.refuse(self.refuses)
            return
        sampled = tuple(
            self._tokens(chunk.slot, chunk.first_position + chunk.num_tokens) if chunk.sample else NO_TOKEN
            for chunk in request.chunks
        )
        self._answers.put_nowait(
            StepResult(boot_id=1, epoch=self.epoch, step=request.step, duration_s=0.002, sampled_ids=sampled)
        )

    async def receive(self) -> StepResult:
        await asyncio.sleep(0)  # as a real stream does, it lets others run
        answer = asyncio.ensure_future(self._next_answer())
        broken = asyncio.ensure_future(self._broken.wait())
        await asyncio.wait((answer, broken), return_when=asyncio.FIRST_COMPLETED)
        if self._broken.is_set():
            answer.cancel()
            raise EngineLost("the stream has broken")
        broken.cancel()
        return answer.result()

    async def probe(self) -> StepResult:
        self.probes += 1
        if self.probe_fails is not None:
            raise self.probe_fails
        return self.probed

    async def _next_answer(self) -> StepResult:
        await self.running.wait()
        if not self.answers_left:
            await asyncio.Event().wait()
        self.answers_left -= 1
        return await self._answers.get()

    def refuse(self, refusal: Refusal) -> None:
        self._answers.put_nowait(StepResult(boot_id=1, epoch=self.epoch, step=0, refusal=refusal))

    def break_off(self) -> None:
        self._broken.set()


class FakeEngine:
    """Connects the loop to a new session each time; `sessions` are all there were."""

    def __init__(self, tokens: Tokens = lambda _slot, cached: cached % 50, *, emulated: bool = True) -> None:
        self.sessions: list[FakeSession] = []
        self.away = False
        self.hangs = False
        """Whether a try to connect comes to no end."""
        self.refuses: Refusal | None = None
        """What every plan of sessions to come is answered."""
        self.only_opens_again = False
        """Whether sessions behind the first answer nothing before they are set `running`."""
        self.tries = 0
        """To connect."""
        self._tokens = tokens
        self._emulated = emulated

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeSession]:
        self.tries += 1
        if self.away:
            raise EngineLost("the server does not answer")
        if self.hangs:
            await asyncio.Event().wait()
        session = FakeSession(self._tokens, epoch=len(self.sessions) + 1, emulated=self._emulated)
        session.refuses = self.refuses
        if self.only_opens_again and self.sessions:
            session.running.clear()
        self.sessions.append(session)
        yield session
