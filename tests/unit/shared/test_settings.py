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


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNERGY_CREDENTIALS", str(tmp_path))
    return tmp_path


def test_a_folder_may_hold_what_the_environment_should_not_show(credentials):
    (credentials / "redis_url").write_text("redis://user:secret@host\n")
    assert load(Example).redis_url == "redis://user:secret@host"


def test_what_the_environment_says_goes_before_what_the_folder_holds(credentials, monkeypatch):
    (credentials / "redis_url").write_text("redis://user:secret@host")
    monkeypatch.setenv("REDIS_URL", "redis://other")
    assert load(Example).redis_url == "redis://other"


def test_an_error_in_the_folder_names_its_key_and_does_not_show_it(credentials):
    (credentials / "redis_url").write_text("http://user:secret@host")
    with pytest.raises(InvalidSettings) as error:
        load(Example)
    assert error.value.problems.keys() == {"REDIS_URL"}
    assert "secret" not in str(error.value)


def test_a_folder_that_is_not_there_is_told(credentials, monkeypatch):
    monkeypatch.setenv("SYNERGY_CREDENTIALS", str(credentials / "none"))
    with pytest.raises(InvalidSettings, match="SYNERGY_CREDENTIALS: no such folder"):
        load(Example)
