"""Loads on real systems in turn: who has when which requests, how many are about the capacity, and what came of them."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import fmean
from typing import NamedTuple, Self

import aiohttp
from rich.console import Console

from loadgen.client import open_session
from loadgen.engines import read_model
from loadgen.experiments.live_runs import probe_s, run_routed
from loadgen.experiments.real_fleets import Address
from loadgen.experiments.real_parts import REACTIVE, Part, System
from loadgen.experiments.real_rows import RealRow, real_row
from loadgen.workload import Request

WARM_UP_SEED, CAPACITY_SEED = 1000, 2000
"""Other ones than the experiment's."""
ATTAINED_AT_CAPACITY = 0.9

Note = Callable[[RealRow], None]


class Plan(NamedTuple):
    """What is done on each kind of fleet."""

    seeds: Sequence[int]
    times_capacity: Sequence[float]
    repeats: bool
    """Whether who had its turn first has another one, with the same requests, when all have had theirs."""
    capacity_seeds: int = 1
    warms_up: bool = True


class Turn(NamedTuple):
    """One run."""

    system: System
    times_capacity: float
    seed: int
    again: bool = False

    def key_on(self, part: Part) -> tuple[str, str, float, int, bool]:
        """As the row's."""
        return part.name, self.system.name, self.times_capacity, self.seed, self.again


def turns(systems: Sequence[System], plan: Plan) -> Sequence[Turn]:
    """Seed by seed all systems at all loads, so that a machine that drifts does so for all; at each load in an order of chance."""
    planned: list[Turn] = []
    for seed in plan.seeds:
        for times in plan.times_capacity:
            order = random.Random(f"{seed} {times}").sample(systems, len(systems))  # noqa: S311 - an order, no secret
            planned += [Turn(system, times, seed) for system in order]
            if plan.repeats:
                planned.append(Turn(order[0], times, seed, again=True))
    return planned


class Runs:
    """Loads on systems that are there.

    Each system is a tenant of its own, and another one where it is asked the same again: nobody is to find the prompts in a cache.
    """

    def __init__(self, part: Part, addresses: Mapping[System, Address]) -> None:
        self._part = part
        self._addresses = addresses
        self._open = AsyncExitStack()
        self._sessions: dict[tuple[System, bool], aiohttp.ClientSession] = {}
        self._model = ""

    async def __aenter__(self) -> Self:
        for system, address in self._addresses.items():
            for again in (False, True):
                session = open_session(tenant=f"{system.name}, again" if again else system.name)
                self._sessions[system, again] = await self._open.enter_async_context(session)
            self._model = self._model or await read_model(session, address.router_url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def run(
        self, system: System, rate_per_s: float, seed: int, times_capacity: float = 0.0, *, again: bool = False
    ) -> RealRow:
        """The row of one load on one system."""
        part, address, session = self._part, self._addresses[system], self._sessions[system, again]
        requests: Sequence[Request] = part.load.draw(rate_per_s, seed)
        settings = part.load.settings(address.router_url, self._model, rate_per_s, seed, requests)
        alone_s = None if part.is_emulated else await probe_s(session, address.lens_url, settings)
        report = await run_routed(session, address.router_url, settings, requests)
        return real_row(part.name, system, times_capacity, report, alone_s, again=again)

    async def learn(self) -> None:
        """A light load over all routers of each fleet, so that step models, lengths and errors are known.

        Fleet by fleet, where engines compute: they would learn how long steps take while others have the processors.
        """
        planners = dict.fromkeys(system.planner for system in self._addresses)
        if self._part.is_emulated:
            await asyncio.gather(*(self._learn(planner) for planner in planners))
        else:
            for planner in planners:
                await self._learn(planner)

    async def capacity_per_s(self, seeds: int, console: Console) -> float:
        """The highest rate up to which the reactive router over lens attains what it should; at least the lowest that is tried."""
        reactive = next(system for system in self._addresses if system.name == REACTIVE)
        capacity_per_s = self._part.rates_per_s[0]
        for rate_per_s in self._part.rates_per_s:
            rows = [await self.run(reactive, rate_per_s, CAPACITY_SEED + seed) for seed in range(seeds)]
            attained = fmean(row.attainment for row in rows)
            told = f"{self._part.name}: at {rate_per_s:g} requests/s the reactive router attains {attained:.0%}"
            console.print(told, highlight=False)
            if attained < ATTAINED_AT_CAPACITY:
                break
            capacity_per_s = rate_per_s
        return capacity_per_s

    async def _learn(self, planner: str) -> None:
        of_fleet = [system for system in self._addresses if system.planner == planner]
        rate_per_s = self._part.rates_per_s[0] / len(of_fleet)
        await asyncio.gather(
            *(self.run(system, rate_per_s, WARM_UP_SEED + place) for place, system in enumerate(of_fleet))
        )


async def compare(
    part: Part,
    addresses: Mapping[System, Address],
    missing: Collection[Turn],
    plan: Plan,
    console: Console,
    note: Note,
) -> None:
    """Have these turns.

    Args:
        note: takes each row as soon as it is known.
    """
    async with Runs(part, addresses) as runs:
        if plan.warms_up:
            console.print(f"{part.name}: everybody learns", highlight=False)
            await runs.learn()
        capacity_per_s = part.capacity_per_s or await runs.capacity_per_s(plan.capacity_seeds, console)
        console.print(f"{part.name}: capacity is {capacity_per_s:g} requests/s", highlight=False)
        for turn in missing:
            rate_per_s = turn.times_capacity * capacity_per_s
            note(await runs.run(turn.system, rate_per_s, turn.seed, turn.times_capacity, again=turn.again))
