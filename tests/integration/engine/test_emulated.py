"""An emulated GPU behind a real Triton: the contract is kept as by any engine, and steps take the GPU's time."""

import statistics
from collections.abc import Iterator

import pytest

from services.engine.emulated import step_shape
from services.engine.emulation import StepTimes
from services.engine.profile import load_profile
from shared.step import Chunk, Probe, RefusalCode, StepResult
from tests.integration.engine.client import EngineClient, connected, is_ready
from tests.integration.engine.sequences import GREEDY, decode, prefill
from tests.servers import eventually_sync, free_port
from tests.services import service

PROFILE = "h100-llama3.1-8b"
SEED = 3
TIME_SCALE = 2.0
READY_WITHIN_S = 60.0
PROMPT_TOKENS = 200
DECODES = 60


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    grpc_port = free_port()
    keys = {
        "ENGINE_GRPC_PORT": str(grpc_port),
        "ENGINE_EXECUTOR": "emulated",
        "ENGINE_PROFILE": PROFILE,
        "ENGINE_SEED": str(SEED),
        "ENGINE_TIME_SCALE": str(TIME_SCALE),
    }
    with service("services.engine", keys, tmp_path_factory.mktemp("emulated") / "engine.log"):
        eventually_sync(lambda: is_ready(grpc_port, "emulated"), READY_WITHIN_S)
        yield grpc_port


@pytest.fixture
def engine(port) -> Iterator[EngineClient]:
    with connected(port, "emulated") as client:
        yield client


def steps() -> list[tuple[Chunk, ...]]:
    """Two prompts one after the other, then both answers."""
    prompt = (5,) * PROMPT_TOKENS
    first, second = prefill(0, prompt), prefill(1, prompt)
    both = [(decode(0, PROMPT_TOKENS + 1 + i), decode(1, PROMPT_TOKENS + i)) for i in range(DECODES)]
    return [(first,), (decode(0, PROMPT_TOKENS), second), *both]


def run(engine: EngineClient) -> list[StepResult]:
    """All steps, sent ahead as lens does, so that the engine never waits."""
    plans = [engine.plan(*chunks) for chunks in steps()]
    for plan in plans:
        engine.send(plan)
    results = [engine.receive() for _ in plans]
    assert not [result.refusal for result in results if result.refusal]
    return results


def test_it_says_what_it_emulates(engine):
    profile = load_profile(PROFILE)
    assert engine.info.emulated
    assert engine.info.model == profile.model
    assert engine.info.kv_blocks_total == profile.kv_blocks_total
    config = engine.triton.get_model_config("emulated", as_json=True)["config"]
    assert config["parameters"]["emulated"]["string_value"] == "true"


def test_steps_take_the_profile_s_time(engine):
    times = StepTimes(load_profile(PROFILE), SEED)
    wanted_s = [times.next_s(step_shape(chunks)) * TIME_SCALE for chunks in steps()]
    taken_s = [result.duration_s for result in run(engine)]
    errors_s = [abs(taken - wanted) for taken, wanted in zip(taken_s, wanted_s, strict=True)]
    assert statistics.median(errors_s) < 1e-3
    assert sum(taken_s) == pytest.approx(sum(wanted_s), rel=0.05)


def test_the_same_plans_draw_the_same_tokens(engine):
    drawn = [result.sampled_ids for result in run(engine)]
    engine.open_epoch()
    assert [result.sampled_ids for result in run(engine)] == drawn


def test_it_counts_how_late_its_steps_end(engine):
    run(engine)
    probed = engine.ask(Probe())
    assert probed.info is not None
    assert sum(probed.info.lateness_counts) - sum(engine.info.lateness_counts) == len(steps())


def test_plans_are_checked_as_by_a_real_engine(engine):
    engine.step(prefill(0, (5,) * 10))
    assert engine.refusal(engine.plan(decode(0, 12))) is RefusalCode.POSITION_MISMATCH
    engine.open_epoch()
    too_long = Chunk(0, 0, engine.info.max_step_tokens + 1, (5,) * (engine.info.max_step_tokens + 1), True, GREEDY)
    assert engine.refusal(engine.plan(too_long)) is RefusalCode.TOO_MANY_TOKENS


def test_a_sequence_that_copies_a_prefix_draws_the_tokens_that_it_would_have_drawn_and_shares_the_blocks(engine):
    prompt = (5,) * 40
    expected = engine.step(prefill(0, prompt)).sampled_ids
    copying = Chunk(1, 32, 8, prompt[32:], True, GREEDY, prefix_slot=0)
    copied = engine.step(copying)
    assert (copied.sampled_ids, copied.kv_blocks_used) == (expected, 3 + 1)
    following = engine.step(decode(0, 40), decode(1, 40), released=())
    assert following.sampled_ids[0] == following.sampled_ids[1]
    assert engine.step(decode(1, 41), released=(0,)).kv_blocks_used == 3


def test_blocks_are_counted_and_given_back(engine):
    assert engine.step(prefill(0, (5,) * 33)).kv_blocks_used == 3
    assert engine.step(prefill(1, (5,) * 16), released=(0,)).kv_blocks_used == 1
