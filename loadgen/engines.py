"""The system under load as its router describes it: the model it serves, and its engines with what was learned of them."""

import asyncio
from collections.abc import Collection
from typing import TypeVar

import aiohttp
import msgspec

from loadgen.reading import UNREADABLE
from shared.engine_state import MOST_LATENESS_AGE_S
from shared.forecast import ModelHealth

ANSWERS_WITHIN_S = 5.0
BodyType = TypeVar("BodyType")

LEAST_STEPS_LEARNED = 30
"""Fewer would say nothing about a model that is learned online."""


class StepModelCard(msgspec.Struct, frozen=True):
    """How well an engine's step model is learned."""

    health: ModelHealth = ModelHealth.COLD
    mape: float | None = None
    """A fraction."""
    steps_learned: int = 0

    @property
    def problem(self) -> str | None:
        """Why it does not count as learned, if it does not."""
        if self.health is ModelHealth.COLD or self.mape is None:
            return f"its step model is {self.health} after {self.steps_learned} steps"
        if self.steps_learned < LEAST_STEPS_LEARNED:
            return f"its step model has learned from {self.steps_learned} steps, fewer than {LEAST_STEPS_LEARNED}"
        return None


class Engine(msgspec.Struct, frozen=True):
    """One entry of `GET /v1/engines`, as far as a report needs it."""

    engine: str
    hardware_class: str
    forecast: StepModelCard
    emulated: bool = False
    lateness_counts: tuple[int, ...] = ()
    """As `shared.engine_state.EngineState` has them."""


class _Engines(msgspec.Struct, frozen=True):
    engines: tuple[Engine, ...]


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...]


class NoSystem(ConnectionError):
    """What answers at the address does not do what was asked of it, or nothing answers."""


async def read_engines(session: aiohttp.ClientSession, url: str) -> tuple[Engine, ...]:
    """The engines in the pool.

    Raises:
        NoSystem: the router does not answer, or not with engines.
    """
    return (await _get(session, f"{url}/v1/engines", _Engines)).engines


async def read_counted_engines(session: aiohttp.ClientSession, url: str) -> tuple[Engine, ...]:
    """The engines in the pool; where they are emulated, all steps that have ended by now are in their lateness counts.

    Raises:
        NoSystem: as `read_engines`.
    """
    engines = await read_engines(session, url)
    if not any(engine.emulated for engine in engines):
        return engines
    await asyncio.sleep(MOST_LATENESS_AGE_S)
    return await read_engines(session, url)


async def read_model(session: aiohttp.ClientSession, url: str) -> str:
    """The first model served.

    Raises:
        NoSystem: the server does not answer, or serves no model.
    """
    models = (await _get(session, f"{url}/v1/models", _Models)).data
    if not models:
        raise NoSystem(f"{url} serves no model")
    return models[0].id


def engine_problems(engines: Collection[Engine], served: Collection[str], required: int) -> list[str]:
    """Why fewer than `required` engines have both served requests of this run and been learned; empty if enough have."""
    problems = {}
    for engine in engines:
        problem = engine.forecast.problem if engine.engine in served else "it served no request"
        if problem is not None:
            problems[engine.engine] = problem
    proven = len(engines) - len(problems)
    if proven >= required:
        return []
    return [
        f"{proven} of the required {required} engines served and were learned",
        *(f"engine {name}: {problem}" for name, problem in problems.items()),
    ]


async def _get(session: aiohttp.ClientSession, url: str, kind: type[BodyType]) -> BodyType:
    try:
        timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)
        async with session.get(url, timeout=timeout, raise_for_status=True) as response:
            return msgspec.json.decode(await response.read(), type=kind)
    except (aiohttp.ClientError, TimeoutError, OSError, *UNREADABLE) as error:
        raise NoSystem(f"GET {url}: {error or type(error).__name__}") from error
