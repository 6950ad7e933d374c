"""What an API key grants: whose requests it makes and within which bounds. A key is known by its SHA-256 alone. Pure.

A key is 256 random bits, so a plain digest is right: there is nothing to guess that a salt or a slow hash would protect,
and a lookup of the digest takes no time that says how much of a wrong key was right.
"""

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated

import msgspec

from shared.slo import LONGEST_CLASS_CHARACTERS, Slo
from shared.standing import LONGEST_TENANT_CHARACTERS, PRIORITY_BOUND, Standing

Milliseconds = Annotated[float, msgspec.Meta(gt=0)]
Tenant = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=LONGEST_TENANT_CHARACTERS, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"
    ),
]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class RateLimit(msgspec.Struct, frozen=True):
    """How often a key may ask."""

    requests_per_s: float
    burst: int
    """At once, after a while without any."""


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """As it stands in the keys file and in Redis; what is not said is not bounded, the priority apart."""

    tenant: Tenant
    priority_ceiling: Annotated[int, msgspec.Meta(ge=-PRIORITY_BOUND, le=PRIORITY_BOUND)] = 0
    """A higher priority is lowered to it; 0 unless told, so that no key goes before the others unasked."""
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """Requests at once; a second's worth unless told."""
    slo_class: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_CLASS_CHARACTERS)] | None = None
    """Of requests that name none."""
    least_ttft_ms: Milliseconds | None = None
    least_tpot_ms: Milliseconds | None = None
    models: tuple[str, ...] | None = None
    """That it may use."""

    def __post_init__(self) -> None:
        if self.burst is not None and self.requests_per_s is None:
            raise ValueError("burst bounds nothing without requests_per_s")

    @property
    def rate_limit(self) -> RateLimit | None:
        """How often it may ask; None: as often as it likes."""
        if self.requests_per_s is None:
            return None
        return RateLimit(self.requests_per_s, self.burst or math.ceil(self.requests_per_s))

    def permits(self, model: str) -> bool:
        """Whether it may use a model."""
        return self.models is None or model in self.models

    def bounded(self, standing: Standing) -> Standing:
        """A request's standing: no priority above the ceiling, and the key's tenant whatever the client says."""
        return Standing(priority=min(standing.priority, self.priority_ceiling), tenant=self.tenant)

    def loosened(self, slo: Slo, output_tokens: int) -> Slo:
        """The targets that a request is promised: those it wants, none tighter than the key allows.

        Args:
            output_tokens: expected; an end-to-end target may not be tighter than both least targets together make it.
        """
        least_ttft_s, least_tpot_s = (
            None if least_ms is None else least_ms / 1e3 for least_ms in (self.least_ttft_ms, self.least_tpot_ms)
        )
        least_e2e_s = (least_ttft_s or 0.0) + (least_tpot_s or 0.0) * (output_tokens - 1)
        return msgspec.structs.replace(
            slo,
            ttft_s=_at_least(slo.ttft_s, least_ttft_s),
            tpot_s=_at_least(slo.tpot_s, least_tpot_s),
            e2e_s=_at_least(slo.e2e_s, least_e2e_s),
        )


def _at_least(target_s: float | None, least_s: float | None) -> float | None:
    return target_s if target_s is None or least_s is None else max(target_s, least_s)


def digest_of(key: str) -> str:
    """What a key is known by."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_digest(text: str) -> bool:
    """Whether it has the form of a digest, so that no key that stands in its place is ever shown."""
    return _DIGEST.fullmatch(text) is not None


def parse_grant(data: bytes | str | msgspec.Raw, slo_classes: Collection[str]) -> Grant:
    """A grant from its JSON.

    Args:
        slo_classes: those that are configured.

    Raises:
        ValueError: says what is wrong with which field.
    """
    try:
        grant = msgspec.json.decode(data, type=Grant)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if grant.slo_class is not None and grant.slo_class not in slo_classes:
        raise ValueError(f"slo_class {grant.slo_class!r} is not configured; there are {sorted(slo_classes)}")
    return grant


def parse_grants(data: bytes, slo_classes: Collection[str]) -> Mapping[str, Grant]:
    """Grants by digest, from a keys file.

    Raises:
        ValueError: says what is wrong with which entry, and never shows a key.
    """
    try:
        entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"must be a JSON object of grants by SHA-256: {error}") from None
    grants = {}
    for number, (digest, entry) in enumerate(entries.items(), start=1):
        if not is_digest(digest):
            raise ValueError(f"entry {number} is not under the SHA-256 of a key, 64 lower-case hexadecimal digits")
        try:
            grants[digest] = parse_grant(entry, slo_classes)
        except ValueError as error:
            raise ValueError(f"entry {number}, {digest[:8]}…: {error}") from None
    return grants
