"""What the README says of settings is what the services read."""

import re
from pathlib import Path

import pytest

from infra.native.ports import Ports
from services.engine.settings import EngineSettings
from services.forecaster.settings import ForecasterSettings
from services.lens.settings import LensSettings
from services.prism.settings import PrismSettings
from shared.settings import CREDENTIALS_KEY, Settings

README = (Path(__file__).parents[2] / "README.md").read_text()
ALL = (EngineSettings, ForecasterSettings, LensSettings, PrismSettings, Ports)


def keys_of(settings: type[Settings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return {str(field.validation_alias or f"{prefix}{name}".upper()) for name, field in settings.model_fields.items()}


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.__name__)
def test_every_setting_is_in_the_readme(settings):
    assert not [key for key in sorted(keys_of(settings)) if f"`{key}`" not in README]


def test_the_readme_names_no_setting_that_nothing_reads():
    named = set(re.findall(r"`((?:PRISM|LENS|ENGINE|FORECASTER|SYNERGY)_[A-Z_]+)`", README))
    assert named <= set().union(*(keys_of(settings) for settings in ALL)) | {"SYNERGY_TELEMETRY", CREDENTIALS_KEY}
