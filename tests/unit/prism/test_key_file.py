"""Keys come and go with their file; a bad one changes nothing and is said to be bad."""

import asyncio
import json
from pathlib import Path

import pytest

from services.prism.grants import digest_of
from services.prism.key_file import FILE_CHECKED_EVERY_S, KeyFile
from services.prism.keys import main
from shared.lifecycle import Readiness
from shared.settings import InvalidSettings

OLD, NEW = digest_of("old"), digest_of("new")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({OLD: {"tenant": "acme"}}))
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def keys(path: Path, readiness: Readiness, clock: Clock) -> KeyFile:
    return KeyFile(path, [], readiness, clock)


def _tenant(keys: KeyFile, digest: str) -> str | None:
    grant = asyncio.run(keys.find(digest))
    return None if grant is None else grant.tenant


def test_a_file_that_changes_is_read_again_at_most_once_a_second(keys: KeyFile, path: Path, clock: Clock):
    assert _tenant(keys, OLD) == "acme"
    path.write_text(json.dumps({NEW: {"tenant": "later"}}))
    clock.now_s = FILE_CHECKED_EVERY_S * 0.9
    assert _tenant(keys, NEW) is None
    clock.now_s = FILE_CHECKED_EVERY_S
    assert _tenant(keys, NEW) == "later"
    assert _tenant(keys, OLD) is None


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_bad_file_leaves_the_keys_and_is_said_to_be_bad_until_it_is_good(
    keys: KeyFile, path: Path, clock: Clock, readiness: Readiness, spoil
):
    good = path.read_bytes()
    spoil(path)
    clock.now_s += FILE_CHECKED_EVERY_S
    assert _tenant(keys, OLD) == "acme"
    assert "as last read" in readiness.problems["keys-file"]
    path.write_bytes(good)
    clock.now_s += FILE_CHECKED_EVERY_S
    assert _tenant(keys, OLD) == "acme"
    assert readiness.problems == {}


def test_a_file_that_comes_back_as_it_was_is_good_again(keys: KeyFile, path: Path, clock: Clock, readiness: Readiness):
    path.rename(path.with_suffix(".away"))
    clock.now_s += FILE_CHECKED_EVERY_S
    assert _tenant(keys, OLD) == "acme"
    assert readiness.problems
    path.with_suffix(".away").rename(path)
    clock.now_s += FILE_CHECKED_EVERY_S
    assert _tenant(keys, OLD) == "acme"
    assert not readiness.problems


def test_at_start_a_file_that_cannot_be_used_stops_prism_and_says_why(path: Path, readiness: Readiness, clock: Clock):
    path.write_text('{"abc": {"tenant": "a"}}')
    for unusable, problem in ((path, "entry 1"), (path.with_name("none.json"), "No such file")):
        with pytest.raises(InvalidSettings) as caught:
            KeyFile(unusable, [], readiness, clock)
        assert problem in caught.value.problems["PRISM_KEYS_FILE"]


def test_a_new_key_works_by_the_entry_that_the_command_prints(
    keys: KeyFile, path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
):
    main(["new", "--tenant", "acme", "--requests-per-s", "5", "--model", "tiny", "--model", "small"])
    key_line, file_line, redis_line = capsys.readouterr().out.splitlines()
    key, entry = key_line.split()[-1], file_line.split(":", 1)[1]
    assert key not in file_line + redis_line
    path.write_text(f"{{{entry}}}")
    clock.now_s += FILE_CHECKED_EVERY_S
    grant = asyncio.run(keys.find(digest_of(key)))
    assert grant is not None
    assert (grant.tenant, grant.requests_per_s, grant.models) == ("acme", 5.0, ("tiny", "small"))


def test_the_command_refuses_what_prism_would(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["new", "--tenant", "acme", "--burst", "3"])
    assert "burst bounds nothing" in str(caught.value)
    assert not capsys.readouterr().out
