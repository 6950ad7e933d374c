"""Runs Triton as a child: it stops in bounded time when told to, and nothing of it stays behind.

Left to itself, Triton told to stop waits for ever while a client, such as lens, holds a stream open, and one that is
killed leaves its Python behind for seconds and its shared memory for good.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import structlog

from shared.lifecycle import stop_signals

log = structlog.get_logger()

STOP_TIMEOUT_S = 3.0
"""How long Triton may take to stop before it is killed; longer than `launch.EXIT_TIMEOUT_S`."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it
_PR_SET_PDEATHSIG = 1


async def run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run the command until it ends, or until SIGTERM or SIGINT comes and it has been made to end.

    Returns:
        The exit status: 0 if it was told to end, else the command's own, as a shell would show it.
    """
    with stop_signals() as stop:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, start_new_session=True, preexec_fn=_die_with_parent
        )
        ended, told = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                status = ended.result()
                log.error("triton has ended unasked", status=status)
                return status if status >= 0 else 128 - status
            process.terminate()
            await asyncio.wait({ended}, timeout=STOP_TIMEOUT_S)
            return 0
        finally:
            told.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await ended


def remove_shared_memory(prefix: str) -> None:
    """Remove what a killed Triton has left in shared memory."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _die_with_parent() -> None:
    """In the child: be killed when this process is, which cannot see to it then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
