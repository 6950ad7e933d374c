"""The passwords of the containers' system, and what its users of NATS may do; those of Redis are tried in the containers."""

import contextlib
import shutil
import sys
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from infra.compose.credentials import NATS_ADDRESS, main
from shared.names import FORECASTER_INBOX, partition_subjects, telemetry_subject
from tests.servers import Server, eventually, started

FOLDERS = ("redis", "nats", "lens", "forecaster", "prism")
WITHIN_S = 5.0


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("credentials")
    for name in FOLDERS:
        (folder / name).mkdir()
    assert main(folder) == 0
    return folder


@pytest.fixture(scope="module")
def nats_url(credentials, tmp_path_factory):
    directory = tmp_path_factory.mktemp("nats")
    shutil.copy(credentials / "nats" / "users.conf", directory / "users.conf")
    (directory / "nats.conf").write_text(
        f'include users.conf\njetstream {{ store_dir: "{directory / "data"}" }}\n', encoding="utf-8"
    )
    binary = shutil.which("nats-server", path=Path(sys.executable).parent) or "nats-server"

    def command(port: int) -> list[str]:
        return [binary, "-c", str(directory / "nats.conf"), "-a", "127.0.0.1", "-p", str(port)]

    def url(user):
        return (credentials / user / "nats_url").read_text().replace(NATS_ADDRESS, f"127.0.0.1:{server.port}")

    with started(Server("nats", command, directory / "nats.log")) as server:
        yield url


def test_passwords_are_made_once_and_no_two_are_the_same(credentials):
    files = {path: path.read_bytes() for path in credentials.rglob("*") if path.is_file()}
    assert main(credentials) == 0
    assert {path: path.read_bytes() for path in files} == files
    urls = [path.read_text() for path in credentials.rglob("*_url")]
    assert len(urls) == 5
    assert len({url.split(":")[2].partition("@")[0] for url in urls}) == 5


def test_neither_server_is_given_the_passwords_of_the_other_s_users(credentials):
    users = (credentials / "redis" / "users.acl").read_text() + (credentials / "nats" / "users.conf").read_text()
    for service in ("lens", "forecaster", "prism"):
        password = (credentials / service / "redis_url").read_text().split(":")[2].partition("@")[0]
        assert password not in users


def test_what_is_half_made_is_made_anew_as_a_whole(tmp_path):
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    main(tmp_path)
    first = (tmp_path / "prism" / "redis_url").read_text()
    (tmp_path / "lens" / "redis_url").unlink()
    main(tmp_path)
    assert (tmp_path / "prism" / "redis_url").read_text() != first


@contextlib.asynccontextmanager
async def connected(url):
    problems: list[str] = []

    async def note(error: Exception) -> None:
        problems.append(str(error).casefold())

    client = await nats.connect(url, error_cb=note, allow_reconnect=False, connect_timeout=WITHIN_S)
    try:
        yield client, problems
    finally:
        await client.close()


async def test_a_lens_may_publish_steps_and_hear_nobody_elses(nats_url):
    async with connected(nats_url("lens")) as (lens, problems):
        await lens.publish(telemetry_subject("h100"), b"steps")
        await lens.flush()
        assert problems == []
        for subject in (telemetry_subject("*"), f"{FORECASTER_INBOX.decode()}.>", "_INBOX.>"):
            problems.clear()
            await lens.subscribe(subject)
            await lens.flush()
            await eventually(lambda: any("permissions violation for subscription" in problem for problem in problems))
        await lens.publish(partition_subjects("0").replace("*", "h100"), b"forged")
        await lens.flush()
        await eventually(lambda: any("permissions violation for publish" in problem for problem in problems))


async def test_a_forecaster_may_not_publish_steps(nats_url):
    async with connected(nats_url("forecaster")) as (forecaster, problems):
        await forecaster.publish(telemetry_subject("h100"), b"forged")
        await forecaster.flush()
        await eventually(lambda: any("permissions violation for publish" in problem for problem in problems))


async def test_without_a_password_nats_lets_nobody_in(nats_url):
    _, _, address = nats_url("lens").rpartition("@")
    with pytest.raises(NatsError):
        await nats.connect(
            f"nats://{address}", allow_reconnect=False, max_reconnect_attempts=0, connect_timeout=WITHIN_S
        )
