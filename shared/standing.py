"""A request's standing among others: what may go before it, and with whom it shares what is short."""

import re
from collections.abc import Mapping

import msgspec

from shared.errors import BadRequest
from shared.headers import PRIORITY, TENANT

PRIORITY_BOUND = 100
"""Priorities lie within as much below 0 and above."""
LONGEST_TENANT_CHARACTERS = 128

_WHOLE = re.compile(r"[+-]?[0-9]{1,3}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of itself beside its targets."""

    priority: int = 0
    """A request of a higher one is served first."""
    tenant: str = ""
    """Whose it is; those of nobody share as one tenant."""


def standing_from_headers(headers: Mapping[str, str]) -> Standing:
    """A request's standing.

    Args:
        headers: by lower-case name.

    Raises:
        BadRequest: the priority is no whole number within the bounds, or the tenant is too long or not printable ASCII.
    """
    return Standing(priority=_priority(headers.get(PRIORITY)), tenant=_tenant(headers.get(TENANT)))


def headers_from_standing(standing: Standing) -> dict[str, str]:
    """The headers that say this standing to the next service."""
    headers = {PRIORITY: str(standing.priority)} if standing.priority else {}
    return {**headers, TENANT: standing.tenant} if standing.tenant else headers


def _priority(text: str | None) -> int:
    if text is None:
        return 0
    priority = int(text) if _WHOLE.fullmatch(text) else None
    if priority is None or abs(priority) > PRIORITY_BOUND:
        wanted = f"a whole number from {-PRIORITY_BOUND} to {PRIORITY_BOUND}"
        raise BadRequest(f"{PRIORITY} must be {wanted}, not {text[:32]!r}", param=PRIORITY)
    return priority


def _tenant(text: str | None) -> str:
    if text is None:
        return ""
    if len(text) > LONGEST_TENANT_CHARACTERS:
        raise BadRequest(f"{TENANT} is longer than {LONGEST_TENANT_CHARACTERS} characters", param=TENANT)
    if not _PRINTABLE.fullmatch(text):
        raise BadRequest(f"{TENANT} must be printable ASCII", param=TENANT)
    return text
