"""API keys from a file: read at start, and again when it changes, so that keys come and go without a restart."""

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

from services.prism.grants import Grant, parse_grants
from shared.lifecycle import Readiness
from shared.settings import InvalidSettings

log = structlog.get_logger()

FILE_CHECKED_EVERY_S = 1.0
"""At most: whoever asks for a key in between is answered from what was read last."""
PART = "keys-file"


class KeyFile:
    """Grants by digest. A file that cannot be read leaves those that were, and readiness says so.

    Args:
        slo_classes: those that a grant may name.
        clock: seconds, monotonic.

    Raises:
        InvalidSettings: the file cannot be used now, at start.
    """

    def __init__(
        self,
        path: Path,
        slo_classes: Collection[str],
        readiness: Readiness,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._slo_classes = slo_classes
        self._readiness = readiness
        self._clock = clock
        self._looked_at_s = clock()
        self._seen: tuple[int, ...] | None
        self._problem: str | None = None
        try:
            self._seen = self._version()
            self._grants = self._read()
        except (OSError, ValueError) as error:
            raise InvalidSettings({"PRISM_KEYS_FILE": f"{error} (it is {str(path)!r})"}) from None
        readiness.has(PART)

    async def find(self, digest: str) -> Grant | None:
        """What the key of this digest grants; None where there is none."""
        now_s = self._clock()
        if now_s - self._looked_at_s >= FILE_CHECKED_EVERY_S:
            self._looked_at_s = now_s
            self._look_again()
        return self._grants.get(digest)

    def _look_again(self) -> None:
        try:
            version = self._version()
            if version == self._seen:
                return  # nothing new, be it good or bad
            self._seen = version
            self._grants = self._read()
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                log.warning("the keys file cannot be used; the keys are as last read", problem=str(error))
            self._problem = str(error)
            if isinstance(error, OSError):
                self._seen = None  # it may come back as it was
            self._readiness.lacks(PART, f"{error}; the keys are as last read")
            return
        self._problem = None
        self._readiness.has(PART)
        log.info("the keys file has been read", keys=len(self._grants))

    def _version(self) -> tuple[int, ...]:
        """Changes whenever the file does: written in place, or another put there under its name."""
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> Mapping[str, Grant]:
        return parse_grants(self._path.read_bytes(), self._slo_classes)
