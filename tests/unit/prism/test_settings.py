"""Settings of the router: classes of targets as JSON, errors that name the key."""

import pytest

from services.prism.settings import PrismSettings
from shared.settings import InvalidSettings, load
from shared.slo import Slo


def test_classes_of_targets_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"interactive": {"ttft_ms": 1000, "tpot_ms": 100}, "batch": {"e2e_ms": 60000}, "none": {}}'
    monkeypatch.setenv("PRISM_SLO_CLASSES", text)
    assert load(PrismSettings).slo_classes == {
        "interactive": Slo(name="interactive", ttft_s=1.0, tpot_s=0.1),
        "batch": Slo(name="batch", e2e_s=60.0),
        "none": Slo(name="none"),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("interactive", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ('{"a": {"ttft_ms": "1"}}', "class 'a'"),
        ('{"a": {"ttft_ms": 0}}', "class 'a'"),
        ('{"a": {"ttft": 1}}', "unknown field `ttft`"),
    ],
)
def test_classes_that_make_no_sense_are_refused_by_key(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setenv("PRISM_SLO_CLASSES", text)
    with pytest.raises(InvalidSettings) as caught:
        load(PrismSettings)
    assert problem in caught.value.problems["PRISM_SLO_CLASSES"]


def test_a_replica_has_a_name_of_its_own_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(PrismSettings).replica
    monkeypatch.setenv("PRISM_REPLICA", "left")
    assert load(PrismSettings).replica == "left"


def test_a_policy_that_there_is_not_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(PrismSettings).policy == "synergy"
    monkeypatch.setenv("PRISM_POLICY", "fastest")
    with pytest.raises(InvalidSettings) as caught:
        load(PrismSettings)
    assert "no policy 'fastest'; there are synergy, round-robin" in caught.value.problems["PRISM_POLICY"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_on_loopback_no_keys_are_needed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PRISM_HOST", host)
    assert load(PrismSettings).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "router.internal"])
def test_where_others_can_reach_it_keys_are_needed_or_waived(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PRISM_HOST", host)
    with pytest.raises(InvalidSettings) as caught:
        load(PrismSettings)
    assert "PRISM_OPEN=true" in caught.value.problems["PRISM_HOST"]
    for key, value in (("PRISM_OPEN", "true"), ("PRISM_KEYS_FILE", "keys.json"), ("PRISM_REDIS_KEYS", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(key, value)
            assert load(PrismSettings).host == host
