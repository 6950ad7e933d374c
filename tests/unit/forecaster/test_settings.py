import pytest

from services.forecaster.settings import ForecasterSettings
from shared.settings import InvalidSettings, load


def test_a_replica_has_the_same_name_after_a_restart_and_another_than_its_neighbour(monkeypatch):
    monkeypatch.setenv("FORECASTER_PORT", "8031")
    first, restarted = load(ForecasterSettings), load(ForecasterSettings)
    monkeypatch.setenv("FORECASTER_PORT", "8032")
    assert first.replica_name == restarted.replica_name != load(ForecasterSettings).replica_name
    monkeypatch.setenv("FORECASTER_REPLICA", "one")
    assert load(ForecasterSettings).replica_name == "one"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("FORECASTER_PORT", "many"),
        ("FORECASTER_PARTITIONS", "0"),
        ("FORECASTER_MAX_ENGINES", "none"),
        ("FORECASTER_REPLICA", "a name"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_no_other(monkeypatch, key, value):
    monkeypatch.setenv(key, value)
    with pytest.raises(InvalidSettings) as refused:
        load(ForecasterSettings)
    assert list(refused.value.problems) == [key]
