"""Which engines a simulated fleet has, and what befalls them, from what the command line says of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from loadgen.arguments import not_negative, positive_float, positive_int
from loadgen.load import ImpossibleLoad
from loadgen.simulate.fleet import Die, Incident, Join, Slow
from services.engine.profile import Profile, load_profile


class Member(NamedTuple):
    """So many engines of a profile, from the beginning."""

    profile: str
    number: int = 1


class FleetPlan(NamedTuple):
    """A fleet whose engines have names."""

    engines: Mapping[str, str]
    """The profile's name as it was given, by the engine's name; of those that are there from the beginning."""
    profiles: Mapping[str, Profile]
    incidents: Sequence[Incident]
    """In their order in time."""


def planned_fleet(members: Sequence[Member], incidents: Sequence[Incident]) -> FleetPlan:
    """Engines are called PROFILE-1, PROFILE-2 …, those that join after those that are there.

    Raises:
        UnknownProfile, BadProfile: of a profile.
        ImpossibleLoad: something befalls an engine that there is not, or not yet.
    """
    joins = [incident.hardware for incident in incidents if isinstance(incident, Join)]
    profiles = {name: load_profile(name) for name in (*(member.profile for member in members), *joins)}
    engines: dict[str, str] = {}
    for member in members:
        for _ in range(member.number):
            engines[_next_name(profiles[member.profile].name, engines)] = member.profile
    joined: dict[str, str] = {}
    named: list[Incident] = []
    for incident in incidents:
        if isinstance(incident, Join):
            name = _next_name(profiles[incident.hardware].name, {**engines, **joined})
            joined[name] = incident.hardware
            named.append(incident._replace(engine=name))
        else:
            named.append(incident)
    joins_at_s = {incident.engine: incident.at_s for incident in named if isinstance(incident, Join)}
    for incident in named:
        if incident.engine not in {**engines, **joined}:
            raise ImpossibleLoad(f"no engine {incident.engine!r}; there are {', '.join((*engines, *joined))}")
        if incident.at_s < joins_at_s.get(incident.engine, 0.0):
            not_yet = f"it joins at {joins_at_s[incident.engine]:g} s"
            raise ImpossibleLoad(f"nothing can befall engine {incident.engine!r} at {incident.at_s:g} s: {not_yet}")
    in_order = sorted(named, key=lambda incident: (incident.at_s, not isinstance(incident, Join)))
    return FleetPlan(engines, profiles, in_order)


def parse_member(text: str) -> Member:
    """Of `PROFILE` or `PROFILE:COUNT`."""
    profile, colon, count = text.rpartition(":")
    return Member(profile, positive_int(count)) if colon else Member(text)


def parse_slow(text: str) -> Slow:
    """Of `ENGINE@S:FACTOR`."""
    engine, rest = _at(text)
    at_s, _, factor = rest.partition(":")
    return Slow(not_negative(at_s), engine, positive_float(factor))


def parse_die(text: str) -> Die:
    """Of `ENGINE@S`."""
    engine, at_s = _at(text)
    return Die(not_negative(at_s), engine)


def parse_join(text: str) -> Join:
    """Of `PROFILE@S`; the engine gets its name with the others."""
    profile, at_s = _at(text)
    return Join(not_negative(at_s), "", profile)


def _at(text: str) -> tuple[str, str]:
    name, at, rest = text.rpartition("@")
    if not at:
        raise ValueError(text)
    return name, rest


def _next_name(profile: str, taken: Iterable[str]) -> str:
    number = 1
    while (name := f"{profile}-{number}") in taken:
        number += 1
    return name
