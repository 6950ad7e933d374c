"""What an experiment was to show, and what was found. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

ROUNDING = 1e-9
"""Of a difference of means that is exactly what was wanted."""
TABLE_HEAD = "| wanted | found | |\n|---|---|---|\n"


class Claim(Protocol):
    """Something that was to be shown."""

    @property
    def wanted(self) -> str:
        """What."""

    @property
    def found(self) -> str:
        """The figures."""

    @property
    def verdict(self) -> str:
        """Whether it holds, or by how much not, and where."""


class Lead(NamedTuple):
    """By how much ours is ahead of a rival on a load."""

    where: str
    rival: str
    points: float
    """Of a hundred."""
    room: float
    """What the rival leaves to be had."""


class Criterion(NamedTuple):
    """So much ours was to be ahead."""

    wanted: str
    least_points: float
    leads: Sequence[Lead]
    """Each must be so large."""

    @property
    def verdict(self) -> str:
        """Whether it is met, or by how much not, and where."""
        missed = [lead for lead in self.leads if lead.points < self.least_points - ROUNDING]
        if not missed:
            return "met"
        return "missed by " + ", ".join(f"{self.least_points - lead.points:.1f} ({lead.where})" for lead in missed)

    @property
    def found(self) -> str:
        """The least and the most."""
        least, most = (choose(self.leads, key=lambda lead: lead.points) for choose in (min, max))
        return _told(least) if least == most else f"from {_told(least)} to {_told(most)}"


def claims_table(claims: Iterable[Claim]) -> str:
    """A line a claim."""
    return TABLE_HEAD + "".join(f"| {each.wanted} | {each.found} | {each.verdict} |\n" for each in claims)


def _told(lead: Lead) -> str:
    return f"{lead.points:+.1f} over {lead.rival}, which leaves {lead.room:.1f} ({lead.where})"
