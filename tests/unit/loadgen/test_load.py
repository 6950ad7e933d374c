from typing import Any

import msgspec
import pytest

from loadgen.load import Arrivals, ImpossibleLoad, Settings, draw_load
from loadgen.sampling import Sample
from loadgen.synthetic import Synthetic
from loadgen.traces import TraceRequest
from loadgen.workload import TrafficClass
from shared.slo import Slo

TRACE = tuple(TraceRequest(2.0 * number, 100 + number, 10 + number) for number in range(50))
LENGTHS = tuple(TraceRequest(None, request.prompt_tokens, request.output_tokens) for request in TRACE)


def settings(**fields: Any) -> Settings:
    told: dict[str, Any] = {"url": "http://server", "model": "a-model", "requests": 20, "seed": 3, "timeout_s": 60.0}
    return Settings(**{**told, **fields})


def replay(**fields: Any) -> Settings:
    return settings(
        **{"arrivals": Arrivals.TRACE, "rate_per_s": None, "trace": "t.csv", "sample": Sample.FIRST, **fields}
    )


@pytest.mark.parametrize("arrivals", [Arrivals.CONSTANT, Arrivals.POISSON, Arrivals.GAMMA, Arrivals.RAMP])
def test_a_seed_gives_the_same_load_again(arrivals):
    told = settings(arrivals=arrivals, to_rate_per_s=3.0)
    once = draw_load(told)
    assert once == draw_load(told)
    assert once != draw_load(msgspec.structs.replace(told, seed=4))
    assert len(once) == 20


def test_time_scale_stretches_arrivals_and_targets_alike():
    plain, slow = draw_load(settings()), draw_load(settings(time_scale=10.0))
    for one, other in zip(plain, slow, strict=True):
        assert other.arrival_s == pytest.approx(10 * one.arrival_s)
        assert other.slo.ttft_s == pytest.approx(10 * (one.slo.ttft_s or 0.0))
        assert other.slo.tpot_s == pytest.approx(10 * (one.slo.tpot_s or 0.0))
        assert (other.slo.e2e_s, other.slo.name, other.prompt) == (None, one.slo.name, one.prompt)


def test_a_replay_has_the_traces_instants_and_lengths():
    requests = draw_load(replay(requests=3, ignore_eos=True), TRACE)
    assert [request.arrival_s for request in requests] == [0.0, 2.0, 4.0]
    assert [request.max_tokens for request in requests] == [10, 11, 12]
    assert [request.prompt.tokens for request in requests if isinstance(request.prompt, Synthetic)] == [100, 101, 102]
    assert all(request.ignore_eos for request in requests)


def test_a_replay_at_a_rate_is_squeezed_to_it():
    requests = draw_load(replay(requests=None, rate_per_s=4.0), TRACE)
    assert requests[-1].arrival_s == pytest.approx(49 / 4)


def test_a_window_is_a_stretch_that_begins_anywhere():
    requests = draw_load(replay(sample=Sample.WINDOW), TRACE)
    assert [request.arrival_s for request in requests] == [2.0 * number for number in range(20)]
    lengths = [request.max_tokens for request in requests]
    assert lengths == list(range(lengths[0], lengths[0] + 20))


def test_thinning_keeps_the_order_and_the_whole_span():
    lengths = [request.max_tokens for request in draw_load(replay(sample=Sample.THIN), TRACE)]
    assert lengths == sorted(set(lengths))
    assert lengths[-1] - lengths[0] > 30


def test_drawn_lengths_may_be_more_than_the_trace_has():
    requests = draw_load(settings(trace="t.csv", requests=200, most_output_tokens=15), LENGTHS)
    assert {request.max_tokens for request in requests} == {10, 11, 12, 13, 14, 15}


def test_prompts_that_share_blocks_in_the_trace_share_them_in_the_load():
    trace = (TraceRequest(0.0, 600, 5, (7, 8)), TraceRequest(1.0, 700, 5, (7, 9)))
    one, other = (request.prompt_text.split() for request in draw_load(replay(requests=None), trace))
    assert one[:512] == other[:512]
    assert one[512:600] != other[512:600]


def test_a_traces_own_text_is_what_is_sent():
    (request,) = draw_load(settings(trace="s.json", requests=1), (TraceRequest(None, 3, 5, text="Why is it so?"),))
    assert request.prompt_text == "Why is it so?"


def test_classes_are_drawn_in_their_shares():
    classes = tuple(TrafficClass(slo=Slo(name=name), share=share) for name, share in (("a", 0.8), ("b", 0.2)))
    requests = draw_load(settings(trace="t.csv", requests=2000, classes=classes), LENGTHS)
    assert sum(request.slo.name == "a" for request in requests) / 2000 == pytest.approx(0.8, abs=0.03)


def test_turns_of_a_session_begin_alike_and_say_whose_they_are():
    turns = [TraceRequest(float(at), tokens, 5, session="s") for at, tokens in enumerate((100, 250, 180))]
    requests = draw_load(
        replay(requests=None), (*turns, TraceRequest(3.0, 100, 5, session="t"), TraceRequest(4.0, 100, 5))
    )
    first, second, third, of_other, alone = (request.prompt_text.split() for request in requests)
    assert second[:100] == third[:100] == first
    assert second[:180] == third
    assert len({tuple(first), tuple(of_other), tuple(alone)}) == 3
    assert [request.session for request in requests] == ["s", "s", "s", "t", None]


@pytest.mark.parametrize(
    ("told", "trace", "problem"),
    [
        (replay(requests=None), LENGTHS, "t.csv has lengths, but no arrivals"),
        (replay(requests=len(LENGTHS) + 1), LENGTHS, f"t.csv has {len(LENGTHS)} requests, not {len(LENGTHS) + 1}"),
        (replay(sample=Sample.DRAW), TRACE, "no arrivals of their own"),
        (replay(rate_per_s=1.0, requests=1), TRACE, "one instant"),
        (replay(most_prompt_tokens=5), TRACE, "no request of t.csv is within the limits"),
        (settings(arrivals=Arrivals.TRACE), (), "need a trace"),
        (settings(arrivals=Arrivals.RAMP), (), "the rate where it ends"),
        (settings(rate_per_s=None), (), "poisson arrivals need a rate"),
    ],
)
def test_what_cannot_be_is_refused(told, trace, problem):
    with pytest.raises(ImpossibleLoad, match=problem):
        draw_load(told, trace)
