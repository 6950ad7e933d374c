"""Arithmetic that is done for every engine at every request is compiled, by numba; what is compiled still reads as plain Python.

A function that is compiled is called with numbers, arrays and tuples of them, and calls only functions that are compiled too.
"""

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.extending import overload, register_jitable

from shared import steptime

Function = TypeVar("Function", bound=Callable[..., Any])

_HERE = Path(__file__).parent


def compiled(function: Function) -> Function:
    """The same function in machine code, which is kept for the next start where there is a place for it.

    Divisions by zero are infinite, as in numpy. It compiles when it is first called, which takes seconds: call it before
    there are requests.
    """
    try:
        return cast("Function", numba.njit(function, error_model="numpy", cache=True))
    except RuntimeError:  # no place that can be written to: it is compiled at each start
        return cast("Function", numba.njit(function, error_model="numpy"))


def _sources_digest() -> str:
    """Of all that may be compiled: numba itself would keep a function whose callees in other files have changed."""
    sources = [*sorted(_HERE.glob("*.py")), *sorted(Path(steptime.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def _place(base: Path, copies: Callable[[], str] = tempfile.mkdtemp) -> Path:
    """The folder for what is compiled of these sources, in place of those of earlier ones.

    Numba reads nothing from where it cannot write, as in a container whose files are read-only: what was compiled when its image was made
    is copied.

    Args:
        base: where what is compiled is kept.
        copies: makes a folder that nobody else can write to.
    """
    place = base / f"compiled-{_sources_digest()}"
    with contextlib.suppress(OSError):
        if not place.exists():
            for earlier in base.glob("compiled-*"):
                shutil.rmtree(earlier, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK):
            copy = copies()
            atexit.register(shutil.rmtree, copy, ignore_errors=True)
            return Path(shutil.copytree(place, copy, dirs_exist_ok=True))
    return place


numba.config.CACHE_DIR = str(  # type: ignore[attr-defined]  # its settings are made as it starts
    _place(Path(numba.config.CACHE_DIR or _HERE / "__pycache__"))  # type: ignore[attr-defined]
)


@overload(bisect_left)
def _bisect_left(items: Sequence[float], wanted: float) -> int:
    """Numba has none; the tuples here are so short that one step after the other is as fast."""

    def place_in(items: Sequence[float], wanted: float) -> int:
        place = 0
        while place < len(items) and items[place] < wanted:
            place += 1
        return place

    return place_in  # type: ignore[return-value]  # numba wants its signature to be like this one's


register_jitable(steptime.padded)
one_step_s = compiled(steptime.one_step_s)
"""As in `shared.steptime`."""
