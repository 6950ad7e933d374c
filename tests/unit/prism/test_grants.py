"""What keys grant: read strictly, shown never, and bounds that hold whatever a request asks for."""

import json

import pytest

from services.prism.grants import Grant, RateLimit, digest_of, parse_grant, parse_grants
from shared.slo import Slo
from shared.standing import Standing

DIGEST = digest_of("sk-synergy-secret")
FULL = {
    "tenant": "acme",
    "priority_ceiling": 10,
    "requests_per_s": 20,
    "burst": 40,
    "slo_class": "interactive",
    "least_ttft_ms": 500,
    "least_tpot_ms": 20,
    "models": ["tiny"],
}


def test_grants_are_read_by_digest():
    [(digest, grant)] = parse_grants(json.dumps({DIGEST: FULL}).encode(), ["interactive"]).items()
    assert digest == DIGEST
    assert grant.rate_limit == RateLimit(20.0, 40)
    assert grant.permits("tiny")
    assert not grant.permits("other")


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([], "must be a JSON object"),
        ({"sk-synergy-secret": {"tenant": "a"}}, "entry 1 is not under the SHA-256"),
        ({DIGEST.upper(): {"tenant": "a"}}, "entry 1 is not under the SHA-256"),
        ({DIGEST: {}}, "missing required field `tenant`"),
        ({DIGEST: {"tenant": ""}}, "tenant"),
        ({DIGEST: {"tenant": "ac\nme"}}, "tenant"),
        ({DIGEST: {"tenant": "a", "rate": 1}}, "unknown field `rate`"),
        ({DIGEST: {"tenant": "a", "requests_per_s": 0}}, "requests_per_s"),
        ({DIGEST: {"tenant": "a", "burst": 3}}, "burst bounds nothing"),
        ({DIGEST: {"tenant": "a", "priority_ceiling": 101}}, "priority_ceiling"),
        ({DIGEST: {"tenant": "a", "slo_class": "royal"}}, "'royal' is not configured"),
    ],
)
def test_entries_that_make_no_sense_are_named_and_no_key_is_shown(entries: object, problem: str):
    with pytest.raises(ValueError, match=problem) as caught:
        parse_grants(json.dumps(entries).encode(), ["interactive"])
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_json_is_said_to_be_none():
    for data in (b"", b"{", b"\xff"):
        with pytest.raises(ValueError, match="JSON object"):
            parse_grants(data, [])


@pytest.mark.parametrize(("requests_per_s", "burst"), [(0.2, 1), (1.0, 1), (2.5, 3)])
def test_a_burst_is_a_seconds_worth_unless_told(requests_per_s: float, burst: int):
    assert Grant(tenant="a", requests_per_s=requests_per_s).rate_limit == RateLimit(requests_per_s, burst)


@pytest.mark.parametrize(("asked", "had"), [(0, 0), (10, 5), (5, 5), (-7, -7)])
def test_a_priority_above_the_ceiling_is_lowered_and_the_tenant_is_the_keys(asked: int, had: int):
    grant = Grant(tenant="acme", priority_ceiling=5)
    assert grant.bounded(Standing(priority=asked, tenant="other")) == Standing(priority=had, tenant="acme")


def test_a_ceiling_below_0_lowers_those_that_ask_for_nothing():
    assert Grant(tenant="acme", priority_ceiling=-1).bounded(Standing()).priority == -1
    assert Grant(tenant="acme").bounded(Standing(priority=1)).priority == 0


LEAST = parse_grant(b'{"tenant": "a", "least_ttft_ms": 500, "least_tpot_ms": 20}', [])


@pytest.mark.parametrize(
    ("wanted", "promised"),
    [
        (Slo(), Slo()),
        (Slo(ttft_s=0.1, tpot_s=0.01), Slo(ttft_s=0.5, tpot_s=0.02)),
        (Slo(ttft_s=0.6, tpot_s=0.03), Slo(ttft_s=0.6, tpot_s=0.03)),
        (Slo(e2e_s=0.1), Slo(e2e_s=0.5 + 0.02 * 10)),
        (Slo(e2e_s=9.0), Slo(e2e_s=9.0)),
    ],
)
def test_targets_tighter_than_allowed_are_raised_and_the_end_cannot_be_used_to_get_around_it(
    wanted: Slo, promised: Slo
):
    assert LEAST.loosened(wanted, output_tokens=11) == promised


def test_a_grant_without_least_targets_leaves_all_as_wanted():
    slo = Slo(ttft_s=0.001, tpot_s=0.001, e2e_s=0.001)
    assert Grant(tenant="a").loosened(slo, output_tokens=100) == slo
