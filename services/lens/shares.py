"""How much each tenant has had, so that what is short goes to who has had least. Pure.

A virtual token counter for each (Sheng et al. 2024, "Fairness in Serving Large Language Models"): it counts the tokens computed for a
tenant, and is raised to the least of the others' when a tenant comes back, since nobody can save up while away.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

MOST_TENANTS = 1024
"""Remembered; beyond, those who came first are forgotten, unless they are here."""


class TenantShares:
    """Of one engine. `tokens` has what each tenant was served; one that is not in it was served nothing."""

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self.tokens: Mapping[str, float] = MappingProxyType(self._tokens)

    def arrive(self, tenant: str, present: Collection[str]) -> None:
        """A request of this tenant comes, while those present have others waiting or running."""
        if tenant in present:
            return
        least_tokens = min((self._tokens.get(other, 0.0) for other in present), default=0.0)
        self._tokens[tenant] = max(self._tokens.pop(tenant, 0.0), least_tokens)
        if len(self._tokens) > MOST_TENANTS:
            forgotten = next((other for other in self._tokens if other != tenant and other not in present), None)
            if forgotten is not None:
                del self._tokens[forgotten]

    def serve(self, tenant: str, num_tokens: int) -> None:
        """So many tokens were computed for it."""
        self._tokens[tenant] = self._tokens.get(tenant, 0.0) + num_tokens
