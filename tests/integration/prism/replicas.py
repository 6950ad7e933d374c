"""Routers without their HTTP side over one Redis, and what engines and Redis itself say of them."""

import time
from typing import Any

from services.prism.decisions import Decision, Decisions
from services.prism.dispatches import Dispatches
from services.prism.forecasts import FleetReader
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.mirror import Mirror
from services.prism.pending import NOTHING, Pending, interval_of
from services.prism.policies import least_tokens
from services.prism.prompt_size import Ask
from services.prism.reservations import Reservations
from services.prism.scripts import Scripts
from shared.engine_state import DUE_INTERVALS
from shared.fleet_scripts import ANNOUNCE, CHANGED, RELEASE, RESERVE, announcement
from shared.lifecycle import Readiness
from shared.names import reserved_key
from shared.pacing import REFERENCE_TTFT_S
from shared.slo import Slo
from shared.standing import Standing
from tests.unit.prism.builders import MODEL, by_due, state


class Replica:
    """One router without its HTTP side."""

    def __init__(self, url: str, name: str) -> None:
        self.scripts, mirror = Scripts(url, (CHANGED, RESERVE, RELEASE), timeout_s=5.0), Mirror()
        self.dispatches = Dispatches(name)
        self.reader = FleetReader(self.scripts, mirror, Readiness(), lambda: None)
        self.reservations = Reservations(self.scripts, mirror, name, lambda: None)
        self._decisions = Decisions(
            self.reader, self.dispatches, Metrics(), reservations=self.reservations, policy=least_tokens
        )

    async def decide(self, prompt_tokens: int = 100) -> Decision:
        intake = Intake(
            path="",
            body=b"",
            headers={},
            model=MODEL,
            stream=False,
            ask=Ask(prompt_tokens=prompt_tokens, output_tokens=10, most_output_tokens=10),
            slo=Slo(),
            standing=Standing(),
            arrived_at_s=time.monotonic(),
        )
        return await self._decisions.decide(intake)

    async def reserved(self, engine: str) -> Pending:
        """As this replica sees it."""
        fleet = await self.reader.read()
        assert fleet.reserved is not None
        return fleet.reserved.get(engine, NOTHING)

    def close(self) -> None:
        self.scripts.close()


async def announce(store: Any, *names: str, settled: tuple[str, ...] = (), **changes: object) -> None:
    script = store.register_script(ANNOUNCE)
    for name in names:
        await script(args=announcement(state(name, **changes), settled))


def pending(requests: int, tokens: int) -> Pending:
    """On their way, without a target: due as lens reckons with those."""
    interval = interval_of(REFERENCE_TTFT_S)
    return Pending(by_due(requests, interval=interval), by_due(tokens, interval=interval))


async def requests_held(store: Any, engine: str) -> int:
    """As Redis itself counts them, due whenever."""
    counts = await store.hmget(reserved_key(engine), [f"requests#{number}" for number in range(1, DUE_INTERVALS + 1)])
    return sum(map(int, counts))
