"""Waits until an instant to within a few hundredths of a millisecond, at next to no processor time."""

import ctypes
import gc
import platform
import sys
import time

import structlog

log = structlog.get_logger()

_PR_SET_TIMERSLACK = 29
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SLICE_NS = 100_000
"""The shortest that the kernel grants."""
_GIL_SWITCH_S = 2e-4
_WAKING_S = 30e-6
"""What the kernel and the interpreter take to wake a thread that has slept."""


class _SchedAttr(ctypes.Structure):
    """`struct sched_attr` in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


class Clock:
    """`time.perf_counter`, and waiting on it."""

    def now_s(self) -> float:
        """Seconds, from an arbitrary instant."""
        return time.perf_counter()

    def wait_until(self, instant_s: float) -> None:
        """Return when the instant has come; at once if it has passed."""
        while (left_s := instant_s - time.perf_counter()) > 0:
            time.sleep(max(0.0, left_s - _WAKING_S))


def wake_on_time() -> None:
    """Let this thread, and those that it starts, run as soon as they wake, also where others keep the processors busy.

    Needs no privilege. What the kernel does not know is left out: then wakes are later, by milliseconds under load.
    """
    gc.freeze()  # what is loaded by now need not be searched for garbage, which takes milliseconds
    sys.setswitchinterval(_GIL_SWITCH_S)  # a thread that wakes waits no longer for another that decodes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_TIMERSLACK, 1)  # else the kernel rounds wakes up by 50 µs
    number = _SCHED_SETATTR.get(platform.machine())
    # from Linux 6.12 on, a thread with a short slice need not wait for the end of another's
    attr = _SchedAttr(size=ctypes.sizeof(_SchedAttr), runtime_ns=_SLICE_NS)
    if number is None or libc.syscall(number, 0, ctypes.byref(attr), 0) != 0:
        log.warning("no short time slice: steps may end late under load")
