import pytest

from services.lens.settings import LensSettings
from shared.settings import InvalidSettings, load


def test_lens_is_reached_where_it_listens(monkeypatch):
    monkeypatch.setenv("LENS_PORT", "9000")
    assert load(LensSettings).url == "http://127.0.0.1:9000"


def test_listening_on_every_address_needs_one_to_advertise(monkeypatch):
    monkeypatch.setenv("LENS_HOST", "0.0.0.0")
    with pytest.raises(InvalidSettings) as error:
        load(LensSettings)
    assert error.value.problems.keys() == {"LENS_ADVERTISED_URL"}
    monkeypatch.setenv("LENS_ADVERTISED_URL", "http://lens-1:8010")
    assert load(LensSettings).url == "http://lens-1:8010"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LENS_TOKENIZER", "/no/such/file"),
        ("LENS_LOG_LEVEL", "chatty"),
        ("LENS_STEP_TARGET_MS", "0"),
        ("LENS_PLANNER", "static"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_key(monkeypatch, key, value):
    monkeypatch.setenv(key, value)
    with pytest.raises(InvalidSettings) as error:
        load(LensSettings)
    assert error.value.problems.keys() == {key}
