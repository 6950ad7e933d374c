"""How long steps take on a profiled GPU: more never takes less, roundings show, and noise is that of the profile."""

import itertools

import msgspec
import numpy as np
import pytest

from services.engine.emulation import StepTimes
from services.engine.profile import Profile, known_profiles, load_profile
from shared.steptime import StepShape

PROFILE = load_profile("h100-llama3.1-8b")


def times(seed: int = 0, **changes: object) -> StepTimes:
    return StepTimes(msgspec.structs.replace(PROFILE, **changes), seed)


def decodes(seqs: int, kv_tokens: int = 0) -> StepShape:
    return StepShape(seqs, seqs, kv_tokens)


def prefill(tokens: int, seqs: int = 1, kv_tokens: int = 0) -> StepShape:
    return StepShape(seqs, tokens + seqs - 1, kv_tokens, tokens**2 / 2, 1)


@pytest.fixture(params=known_profiles())
def profile(request) -> Profile:
    return load_profile(request.param)


def test_more_of_anything_never_takes_less(profile):
    expected_s = StepTimes(profile, 0).expected_s
    series = (
        [decodes(seqs) for seqs in range(1, 300)],
        [decodes(8, kv_tokens) for kv_tokens in range(0, 100_000, 1000)],
        [prefill(tokens) for tokens in range(2, 10_000, 7)],
        [prefill(512, seqs) for seqs in range(1, 256)],
        [prefill(512, 8, kv_tokens) for kv_tokens in range(0, 100_000, 1000)],
    )
    for shapes in series:
        assert all(b >= a > 0 for a, b in itertools.pairwise(map(expected_s, shapes)))


def test_the_floor_is_interpolated_over_whole_tiles_and_goes_on_as_steep_as_it_ended():
    expected_s = times(
        tile_tokens=10,
        floor_ms=((10, 5.0), (20, 7.0), (40, 8.0)),
        graph_ms=((1, 0.0),),
        work_ms_per_token2=0.0,
        mixed_ms=0.0,
    ).expected_s
    assert [expected_s(prefill(tokens)) * 1e3 for tokens in (2, 10, 11, 21, 30, 40, 61)] == pytest.approx(
        [5.0, 5.0, 7.0, 7.5, 7.5, 8.0, 9.5]
    )


def test_decodes_run_in_the_next_captured_size_and_a_step_that_prefills_in_none():
    costs = times(floor_ms=((1, 0.0),), graph_ms=((1, 1.0), (4, 4.0), (8, 6.0)), work_ms_per_token2=0.0, mixed_ms=0.0)
    assert [costs.expected_s(decodes(seqs)) * 1e3 for seqs in (1, 2, 4, 5, 8, 16)] == pytest.approx([1, 4, 4, 6, 6, 12])
    assert costs.expected_s(prefill(64, seqs=2)) * 1e3 == pytest.approx(2.0)


def test_the_cache_is_read_more_slowly_in_a_step_that_prefills():
    costs = times(floor_ms=((1, 0.0),), graph_ms=((1, 0.0),), work_ms_per_token2=0.0, mixed_ms=0.5, mixed_kv_factor=2.0)
    alone_s = costs.expected_s(decodes(1, 10_000))
    assert costs.expected_s(prefill(64, 1, 10_000)) == pytest.approx(2 * alone_s + 0.5e-3)


def test_the_h100_takes_what_was_published_where_it_was_measured():
    for seqs, tokens in ((1, 256), (17, 512), (33, 1024), (65, 2048)):
        line_ms = 5.2 + 0.214 * seqs + 0.0241 * tokens
        assert times().expected_s(StepShape(seqs, tokens, 0, 0, 1)) * 1e3 == pytest.approx(line_ms, rel=0.02)


def test_noise_is_the_same_for_a_seed_and_another_for_another():
    shapes = [decodes(8), prefill(300)] * 200
    series = [times(seed) for seed in (1, 1, 2)]
    noisy = [[one.next_s(shape) for shape in shapes] for one in series]
    assert noisy[0] == noisy[1] != noisy[2]


def test_noise_is_replayed_in_blocks_of_the_profile_s_residuals():
    residuals = tuple(i / 1000 for i in range(64))
    series = times(residuals=residuals, block_steps=8, stall_share=0.0)
    ratios = [series.next_s(decodes(8)) / series.expected_s(decodes(8)) - 1 for _ in range(800)]
    drawn = np.round(np.array(ratios) * 1000).astype(int).reshape(100, 8)
    assert (np.diff(drawn, axis=1) == 1).all()
    assert len(set(drawn[:, 0])) > 20


def test_stalls_come_as_often_and_last_as_long_as_the_profile_says():
    series = times(residuals=(0.0,), block_steps=1, stall_share=0.1, stall_ms=50.0)
    stalls_ms = np.array([series.next_s(decodes(8)) - series.expected_s(decodes(8)) for _ in range(20_000)]) * 1e3
    assert (stalls_ms > 1e-9).mean() == pytest.approx(0.1, abs=0.01)
    assert stalls_ms.sum() / (stalls_ms > 1e-9).sum() == pytest.approx(50.0, rel=0.1)
