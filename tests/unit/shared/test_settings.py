import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import InvalidSettings, Name, RedisUrl, Settings, load


class Example(Settings):
    model_config = SettingsConfigDict(env_prefix="EXAMPLE_", frozen=True, extra="ignore", env_ignore_empty=True)

    port: int = Field(default=80, ge=1, le=65535)
    engine: Name = "e"
    redis_url: RedisUrl = Field(default="redis://localhost", validation_alias="REDIS_URL")
    ratio: float = Field(default=1.0, validation_alias="RATIO")


def test_what_is_not_set_has_its_default():
    assert load(Example).port == 80


def test_an_empty_value_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "")
    assert load(Example).port == 80


def test_an_error_names_every_key_and_its_value(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "70000")
    monkeypatch.setenv("EXAMPLE_ENGINE", "a b")
    monkeypatch.setenv("RATIO", "half")
    with pytest.raises(InvalidSettings) as error:
        load(Example)
    assert error.value.problems.keys() == {"EXAMPLE_PORT", "EXAMPLE_ENGINE", "RATIO"}
    assert "70000" in error.value.problems["EXAMPLE_PORT"]


def test_an_error_does_not_show_credentials(monkeypatch):
    monkeypatch.setenv("RATIO", "redis://user:secret@host")
    with pytest.raises(InvalidSettings) as error:
        load(Example)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["redis", "http://h", "redis://", "redis://h:port", "nats://h"])
def test_an_address_of_another_kind_is_refused_by_key(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(InvalidSettings) as error:
        load(Example)
    assert error.value.problems.keys() == {"REDIS_URL"}
