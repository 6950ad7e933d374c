"""What the step loop asks of whatever carries its plans to an engine."""

from typing import Protocol

from shared.step import EngineInfo, Probe, StepPlan, StepResult


class EngineLost(Exception):
    """The engine cannot go on with this epoch; says why. What it was running must be recomputed."""


class EngineSession(Protocol):
    """One epoch of an engine; answers come in the order of what was sent, and raise EngineLost if none can come."""

    info: EngineInfo
    boot_id: int
    epoch: int

    def send(self, request: StepPlan | Probe) -> None:
        """Put a request on its way; does not wait."""

    async def receive(self) -> StepResult:
        """The next answer."""

    async def probe(self) -> StepResult:
        """What the engine says of itself now, asked beside what was sent: no step waits for that."""
