from collections import Counter

import numpy as np
import pytest

from loadgen.prompts import PASSAGES, QUESTIONS
from loadgen.workload import MIX, draw_requests


def test_classes_come_in_their_shares() -> None:
    requests = draw_requests(range(5_000), np.random.default_rng(1))
    counted = Counter(request.slo.name for request in requests)
    for traffic in MIX:
        assert counted[traffic.slo.name] / len(requests) == pytest.approx(traffic.share, abs=0.03)


def test_output_limits_stay_within_their_class() -> None:
    limits = {traffic.slo.name: traffic.max_tokens for traffic in MIX}
    for request in draw_requests(range(500), np.random.default_rng(1)):
        least, most = limits[request.slo.name]
        assert least <= request.max_tokens <= most


def test_no_prompt_comes_twice_before_all_of_its_kind_have_come() -> None:
    drawn = [request.prompt for request in draw_requests(range(200), np.random.default_rng(1))]
    questions = [prompt for prompt in drawn if prompt in QUESTIONS]
    assert len(set(questions[: len(QUESTIONS)])) == len(QUESTIONS)


def test_batch_jobs_bring_more_passages_than_people_do() -> None:
    requests = draw_requests(range(2_000), np.random.default_rng(1))
    with_passage = Counter(request.slo.name for request in requests if request.prompt_text.endswith(PASSAGES))
    offered = Counter(request.slo.name for request in requests)
    assert with_passage["batch"] / offered["batch"] > 2 * with_passage["interactive"] / offered["interactive"]


def test_a_seed_gives_the_same_requests_again() -> None:
    once, again = (draw_requests(range(50), np.random.default_rng(3)) for _ in range(2))
    assert once == again


def test_shares_of_the_mix_add_up() -> None:
    assert sum(traffic.share for traffic in MIX) == pytest.approx(1.0)
