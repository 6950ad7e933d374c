"""What `/openapi.json` says is so: whatever is sent, the running service answers as described, and never with a 500."""

import asyncio
import contextlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from services.prism.grants import digest_of
from services.prism.openapi import description
from tests.integration.prism.conftest import Announcer
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import eventually_sync, free_port, redis_server
from tests.services import answers, service
from tests.unit.prism.builders import MODEL

KEY = "sk-synergy-described"
EXAMPLES = 25

DESCRIBED = description(slo_classes=[], keys=True)

GENERATED = {
    "allow-extra-parameters": False,  # unknown headers are anyone's to send
    "with-security-parameters": False,  # the key is ours, whatever is drawn
}
api = schemathesis.openapi.from_dict(DESCRIBED, config=schemathesis.Config.from_dict({"generation": GENERATED}))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a prism with keys and an engine that answers."""
    directory = tmp_path_factory.mktemp("described")
    keys = directory / "keys.json"
    keys.write_text(json.dumps({digest_of(KEY): {"tenant": "acme"}}))
    with redis_server(directory) as redis, _answering_engine(redis.url):
        environment = {"PRISM_PORT": str(port := free_port()), "REDIS_URL": redis.url, "PRISM_KEYS_FILE": str(keys)}
        with service("services.prism", environment, Path(directory / "prism.log")) as prism:
            prism.wait_for(f"http://127.0.0.1:{port}/health/ready")
            yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _answering_engine(redis_url: str) -> Iterator[None]:
    """One that lives on a loop of its own: schemathesis asks from this thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    announcing = asyncio.run_coroutine_threadsafe(_answer_and_announce(redis_url), loop)
    try:
        yield
    finally:
        announcing.cancel()
        eventually_sync(lambda: not asyncio.all_tasks(loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _answer_and_announce(redis_url: str) -> None:
    async with FakeEngine("only").running() as engine, contextlib.AsyncExitStack() as stack:
        announcer = Announcer(redis_url)
        stack.push_async_callback(announcer.close)
        await announcer.keep_announcing([engine])


@api.parametrize()
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_described(case: Case, served: str) -> None:
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        case.body["model"] = MODEL  # or nearly all would be asking for one that is not there
    case.call_and_validate(
        base_url=served,
        headers={"Authorization": f"Bearer {KEY}"},  # spelt so that the check that it is needed knows it
        excluded_checks=[positive_data_acceptance],  # some rules have no place in a schema
    )


def test_the_description_is_served_without_a_key(served: str) -> None:
    assert answers(f"{served}/openapi.json")
    with urllib.request.urlopen(f"{served}/openapi.json") as response:
        assert msgspec.json.decode(response.read()) == msgspec.json.decode(msgspec.json.encode(DESCRIBED))
