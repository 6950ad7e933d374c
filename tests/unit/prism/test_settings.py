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
