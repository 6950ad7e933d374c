"""Profiles from files: those that come along can be used, others are refused by file and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.engine.profile import PROFILES_FOLDER, BadProfile, UnknownProfile, known_profiles, load_profile

H100 = "h100-llama3.1-8b"


def fields() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PROFILES_FOLDER / f"{H100}.json").read_text())
    return loaded


@pytest.mark.parametrize("name", known_profiles())
def test_a_profile_that_comes_along_is_named_like_its_file_and_says_its_source(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.residuals_source
    assert profile.max_slots <= profile.max_step_tokens


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UnknownProfile, match=f"'h200'.*{H100}") as unknown:
        load_profile("h200")
    assert unknown.value.known == known_profiles()


def test_a_file_of_one_s_own_can_be_named(tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**fields(), "name": "mine"}))
    assert load_profile(path).name == "mine"


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(BadProfile, match=r"nowhere\.json: No such file"):
        load_profile(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_slots", 0),
        ("kv_ms_per_token", -1e-5),
        ("floor_ms", []),
        ("floor_ms", [[1, 5.0], [1, 6.0]]),
        ("floor_ms", [[1, 0.0], [2, 6.0]]),
        ("max_step_tokens", 255),
        ("graph_ms", [[1, 1.0], [8, 0.5]]),
        ("residuals", [0.1, -1.0]),
        ("block_steps", 100_000),
        ("stall_share", 1.5),
        ("source", None),
    ],
)
def test_a_value_that_cannot_be_is_named_by_file_and_field(tmp_path: Path, field, value):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**fields(), field: value}))
    with pytest.raises(BadProfile, match=rf"mine\.json: {field}") as bad:
        load_profile(path)
    assert bad.value.path == path


@pytest.mark.parametrize("text", [b'{"name": "\xe9"}', b'{"name": ' + b"[" * 100_000])
def test_a_file_that_is_no_json_at_all_is_named(tmp_path: Path, text: bytes):
    path = tmp_path / "mine.json"
    path.write_bytes(text)
    with pytest.raises(BadProfile, match=r"mine\.json"):
        load_profile(path)


def test_a_missing_and_a_misspelt_field_are_named(tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({name: value for name, value in fields().items() if name != "tile_tokens"}))
    with pytest.raises(BadProfile, match="tile_tokens"):
        load_profile(path)
    path.write_text(json.dumps({**fields(), "tiles": 16}))
    with pytest.raises(BadProfile, match="tiles"):
        load_profile(path)
