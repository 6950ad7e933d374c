"""Reserves room on engines in Redis, so that each replica sees at once what the others have sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from services.prism.dispatches import Dispatch
from services.prism.mirror import Mirror
from services.prism.pending import Pending
from services.prism.scripts import RedisAway, ScriptFailed, Scripts
from shared.fleet_scripts import RELEASE, RESERVE

log = structlog.get_logger()


class Reservations:
    """The reservations of one replica. While Redis is away, or refuses them, there are none.

    Args:
        mirror: is told the totals that come back.
        note_failure: called for each that Redis did not take.
    """

    def __init__(self, scripts: Scripts, mirror: Mirror, replica: str, note_failure: Callable[[], None]) -> None:
        self._scripts = scripts
        self._mirror = mirror
        self._replica = replica
        self._note_failure = note_failure
        self._decoder = msgspec.msgpack.Decoder(list[int])
        self._refused: set[str] = set()
        """Engines that Redis refused the latest reservation on."""

    async def reserve(self, dispatch: Dispatch, instead_of: Dispatch | None = None) -> Pending | None:
        """All that is reserved on the engine then, this dispatch included; None where nobody can say."""
        if not self._scripts.connected:
            return None  # whoever reads the fleet connects
        replaced = () if instead_of is None else (instead_of.engine, instead_of.name(self._replica))
        try:
            data = await self._scripts.call(
                RESERVE,
                dispatch.engine,
                dispatch.name(self._replica),
                dispatch.prompt_tokens,
                dispatch.interval + 1,
                *replaced,
            )
        except RedisAway as error:
            self._note_failure()
            if isinstance(error, ScriptFailed) and dispatch.engine not in self._refused:
                log.warning("nothing can be reserved on an engine", engine=dispatch.engine, problem=str(error))
                self._refused.add(dispatch.engine)
            return None
        self._refused.discard(dispatch.engine)
        reserved = Pending.of_totals(self._decoder.decode(data))
        self._mirror.note_reserved(dispatch.engine, reserved)
        return reserved

    def release(self, dispatch: Dispatch) -> None:
        """Take a reservation back, if it is still there; nobody waits for that, and where it fails the reservation expires."""
        if self._scripts.connected:
            self._scripts.call(RELEASE, dispatch.engine, dispatch.name(self._replica)).add_done_callback(_forget)


def _forget(answer: "asyncio.Future[Any]") -> None:
    """Look at what went wrong, so that nobody else asks."""
    if not answer.cancelled():
        answer.exception()
