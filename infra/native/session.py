"""The processes of one session: what a supervisor's programs have started and left in it, also those that outlived their parent.

An engine's Triton leads a session of its own; the kernel ends it with its parent.
"""

import contextlib
import os
import signal
from pathlib import Path

PROCESSES = Path("/proc")


def members(session_id: int) -> list[int]:
    """The ids of the processes in a session that run; not of those that have ended and wait for a parent to notice."""
    return [int(entry.name) for entry in PROCESSES.iterdir() if entry.name.isdecimal() and _runs_in(entry, session_id)]


def kill_members(session_id: int) -> None:
    """End every process of a session at once, until none is left that could start another."""
    while pids := members(session_id):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs_in(process: Path, session_id: int) -> bool:
    try:
        status = (process / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, _parent, _group, session, *_ = status.rpartition(")")[2].split()  # before it a name that may hold anything
    return int(session) == session_id and state not in "ZX"
