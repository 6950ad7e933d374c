"""How far foreseen chances of keeping a promise can be believed: Brier's score, and how often it was kept where so much was foreseen. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

BINS = 10
"""Tenths: a run has a few hundred requests, most of them at the ends."""


class Bin(msgspec.Struct, frozen=True):
    """The requests whose chances were about the same."""

    count: int
    foreseen: float
    """Their mean chance."""
    kept: float
    """The share of them that came true."""


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """Chances and what came of them, over the requests that were told one."""

    count: int
    brier: float
    """Mean squared difference between the chance and what came, 1 or 0: the less, the better; 0.25 for who always says one half."""
    bins: Mapping[int, Bin]
    """By tenth of chance, from 0; those that have requests."""

    @property
    def constant_brier(self) -> float:
        """The score of who always says the share that was kept, as if that had been known."""
        kept = math.fsum(each.count * each.kept for each in self.bins.values()) / self.count
        return kept * (1.0 - kept)


def reliability(chances: Iterable[tuple[float | None, bool]]) -> Reliability | None:
    """Of chances and whether they came true; None where nobody was told any."""
    known = [(chance, kept) for chance, kept in chances if chance is not None]
    if not known:
        return None
    by_tenth: dict[int, list[tuple[float, bool]]] = {}
    for chance, kept in known:
        by_tenth.setdefault(min(int(chance * BINS), BINS - 1), []).append((chance, kept))
    return Reliability(
        count=len(known),
        brier=math.fsum((chance - kept) ** 2 for chance, kept in known) / len(known),
        bins={tenth: _bin(members) for tenth, members in sorted(by_tenth.items())},
    )


def pooled(parts: Sequence[Reliability]) -> Reliability | None:
    """Of the requests of all parts together."""
    count = sum(part.count for part in parts)
    if not count:
        return None
    tenths = sorted({tenth for part in parts for tenth in part.bins})
    return Reliability(
        count=count,
        brier=math.fsum(part.count * part.brier for part in parts) / count,
        bins={tenth: _pooled_bin([part.bins[tenth] for part in parts if tenth in part.bins]) for tenth in tenths},
    )


def _bin(members: Sequence[tuple[float, bool]]) -> Bin:
    count = len(members)
    return Bin(count, math.fsum(chance for chance, _ in members) / count, sum(kept for _, kept in members) / count)


def _pooled_bin(bins: Sequence[Bin]) -> Bin:
    count = sum(each.count for each in bins)
    foreseen = math.fsum(each.count * each.foreseen for each in bins) / count
    return Bin(count, foreseen, math.fsum(each.count * each.kept for each in bins) / count)
