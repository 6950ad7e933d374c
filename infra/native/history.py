"""What became of each program, read from supervisor's log: its process now, how often it was started, whether it was given up."""

import re
from collections.abc import Mapping

import msgspec

_SPAWNED = re.compile(r" INFO spawned: '(?P<program>[^']+)' with pid (?P<pid>\d+)$")
_ENDED = re.compile(r" (?:INFO|WARN) (?P<how>exited|stopped): (?P<program>\S+) \((?P<status>.+)\)$")
_GIVEN_UP = re.compile(r" INFO gave up: (?P<program>\S+) entered FATAL state")


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One program so far."""

    name: str
    pid: int | None = None
    """Of the process that runs now."""
    starts: int = 0
    last_exit: str | None = None
    """How its last process ended, in supervisor's words."""
    given_up: bool = False
    """Whether supervisor starts it no more."""


def read_history(log: str) -> Mapping[str, Program]:
    """Every program that supervisor has tried to start, by name, from its log's text."""
    programs: dict[str, Program] = {}
    for line in log.splitlines():
        if spawned := _SPAWNED.search(line):
            before = _named(programs, spawned["program"])
            after = msgspec.structs.replace(before, pid=int(spawned["pid"]), starts=before.starts + 1)
        elif ended := _ENDED.search(line):
            after = msgspec.structs.replace(_named(programs, ended["program"]), pid=None, last_exit=ended["status"])
        elif given_up := _GIVEN_UP.search(line):
            after = msgspec.structs.replace(_named(programs, given_up["program"]), given_up=True)
        else:
            continue
        programs[after.name] = after
    return programs


def _named(programs: Mapping[str, Program], name: str) -> Program:
    return programs.get(name, Program(name=name))
