"""Stopping a child in bounded time, with real processes in the place of Triton."""

import asyncio
import functools
import os
import signal
from pathlib import Path

import psutil
import pytest

from services.engine import supervise
from tests.servers import eventually

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def child(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_child_that_ends_unasked_passes_its_status_on():
    assert await supervise.run(child("exit 3"), ENVIRONMENT) == 3


async def test_a_child_that_is_killed_shows_as_in_a_shell():
    assert await supervise.run(child("kill -SEGV $$"), ENVIRONMENT) == 128 + signal.SIGSEGV


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_reaches_the_child(tmp_path: Path, number):
    started, told = tmp_path / "started", tmp_path / "told"
    script = f"trap 'touch {told}; exit 0' TERM; touch {started}; while :; do sleep 0.02; done"
    running = asyncio.create_task(supervise.run(child(script), ENVIRONMENT))
    await eventually(started.exists)
    os.kill(os.getpid(), number)
    assert await running == 0
    assert told.exists()


async def test_a_child_that_does_not_stop_is_killed_with_its_own_children(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(supervise, "STOP_TIMEOUT_S", 0.2)
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 1000 & echo $! $$ > {pids}; wait; wait; while :; do sleep 1; done"
    running = asyncio.create_task(supervise.run(child(script), ENVIRONMENT))
    await eventually(lambda: pids.exists() and pids.read_text().endswith("\n"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    for pid in map(int, pids.read_text().split()):
        await eventually(functools.partial(has_ended, pid))


def test_only_shared_memory_with_the_prefix_is_removed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(supervise, "SHARED_MEMORY", tmp_path)
    for name in ("mine-1", "mine-2", "other"):
        (tmp_path / name).touch()
    supervise.remove_shared_memory("mine-")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
