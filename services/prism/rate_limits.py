"""How many requests each key may still make: token buckets, one number a key. Pure.

A bucket is kept as what its key owes: the time until it is full again. One that owes nothing need not be kept at all.
"""

import math

import msgspec

from services.prism.grants import RateLimit

MOST_KEYS = 100_000
"""That owe something at once; of more, those that have asked least lately are forgiven."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a request may be made, and what is left."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: float
    """Until all of the limit is there again."""
    retry_after_s: float
    """Until the next may be made; 0 where it may be now."""


class RateLimits:
    """The buckets of this replica. Times are seconds on any one clock."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._full_at_s: dict[str, float] = {}
        """By key, the least lately used first."""
        self._unshared: dict[str, float] = {}
        """By key, what has been taken since `taken` was last asked, in seconds of its rate."""

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, key: str, limit: RateLimit, now_s: float) -> Allowance:
        """Take one request from the key's bucket, if there is one."""
        request_s = 1 / limit.requests_per_s
        room_s = limit.burst * request_s
        owed_s = max(self._full_at_s.get(key, now_s) - now_s, 0.0)
        lacking_s = owed_s + request_s - room_s
        allowed = lacking_s <= request_s * 1e-6  # what rounding adds up to is no reason to refuse
        if allowed:
            owed_s += request_s
            self._set(key, owed_s, now_s)
            self._unshared[key] = self._unshared.get(key, 0.0) + request_s
        return Allowance(
            allowed=allowed,
            limit=limit.burst,
            remaining=max(math.floor((room_s - owed_s) / request_s + 1e-6), 0),
            reset_s=owed_s,
            retry_after_s=0.0 if allowed else lacking_s,
        )

    def taken(self) -> dict[str, float]:
        """What has been taken since this was last asked, by key, in seconds of its rate."""
        taken, self._unshared = self._unshared, {}
        return taken

    def owes(self, key: str, owed_s: float, now_s: float) -> None:
        """What a key owes in all replicas' sight; what has been taken here meanwhile is not in it yet."""
        self._set(key, owed_s + self._unshared.get(key, 0.0), now_s)

    def _set(self, key: str, owed_s: float, now_s: float) -> None:
        self._full_at_s.pop(key, None)
        self._full_at_s[key] = now_s + owed_s
        if len(self._full_at_s) > self._most_keys:
            self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        """Those that owe nothing; where all owe, the half that has asked least lately, so that it is done seldom."""
        owing = {key: full_at_s for key, full_at_s in self._full_at_s.items() if full_at_s > now_s}
        if len(owing) > self._most_keys:
            owing = dict(list(owing.items())[len(owing) // 2 :])
        self._full_at_s = owing
