"""Settings from the environment, checked at start; an error names the key and says what was wrong with its value."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

CREDENTIALS_KEY = "SYNERGY_CREDENTIALS"
"""Names a folder with a file a key, by its name in small letters (`redis_url`): for what the environment should not show. What the
environment has goes before it."""


class InvalidSettings(SystemExit):
    """Settings that cannot be used; as an exit it prints one line a key, and no traceback.

    Attributes:
        problems: what was wrong, by environment key.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("\n".join(f"{key}: {problem}" for key, problem in self.problems.items()))


class Settings(BaseSettings):
    """What a service reads from the environment; a field `port` under prefix `PRISM_` is the key `PRISM_PORT`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


SettingsType = TypeVar("SettingsType", bound=Settings)


def load(settings: type[SettingsType]) -> SettingsType:
    """These settings from the environment.

    Raises:
        InvalidSettings: a key is missing, or its value cannot be used.
    """
    folder = os.environ.get(CREDENTIALS_KEY) or None
    if folder is not None and not Path(folder).is_dir():
        raise InvalidSettings({CREDENTIALS_KEY: f"no such folder: {folder}"})
    try:
        return settings(_secrets_dir=folder)  # type: ignore[call-arg]  # of BaseSettings, which has fields only
    except ValidationError as error:
        problems = {}
        for detail in error.errors(include_url=False):
            place = str(detail["loc"][0])  # the field, or the whole key where it has one of its own
            prefix = settings.model_config.get("env_prefix", "") if place in settings.model_fields else ""
            key = f"{prefix}{place}".upper()
            problems[key] = detail["msg"] + _shown(os.environ.get(key))
        raise InvalidSettings(problems) from None


def _shown(value: str | None) -> str:
    holds_credentials = value is not None and "@" in value
    return "" if value is None or holds_credentials else f" (it is {value!r})"


def _check_no_spaces(value: str) -> str:
    if not value or any(character.isspace() or character in "*>." for character in value):
        raise ValueError("must be a name without spaces, dots or wildcards")
    return value


def _check_url(*schemes: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            url = urlsplit(value)
            is_good = url.scheme in schemes and bool(url.hostname) and url.port != 0
        except ValueError:
            is_good = False
        if not is_good:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return check


NatsUrl = Annotated[str, AfterValidator(_check_url("nats", "tls"))]
RedisUrl = Annotated[str, AfterValidator(_check_url("redis", "rediss"))]

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

Name = Annotated[str, AfterValidator(_check_no_spaces)]
"""A name that may stand in a NATS subject and a Redis key."""
