"""Classes that each have a trace of their own."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from loadgen.load import Arrivals, ImpossibleLoad, Settings, draw_load
from loadgen.sampling import Sample
from loadgen.synthetic import Synthetic
from loadgen.traces import TraceRequest
from loadgen.workload import ClassTrace, Request, TrafficClass
from shared.slo import Slo


def labelled(slo_class: str, trace: Sequence[TraceRequest]) -> tuple[TraceRequest, ...]:
    return tuple(msgspec.structs.replace(request, slo_class=slo_class) for request in trace)


CHAT = labelled("chat", [TraceRequest(2.0 * number, 100 + number, 10 + number) for number in range(50)])
CODE = labelled("code", [TraceRequest(0.5 + number, 1000 + number, 1) for number in range(400)])
BOTH = (*CHAT, *CODE)
LENGTHS = labelled("chat", [TraceRequest(None, 100, 10)])


def mixed(**fields: Any) -> Settings:
    """Three quarters chat, one quarter code."""
    told: dict[str, Any] = {"url": "", "model": "", "requests": 20, "seed": 3, "timeout_s": 60.0, "ignore_eos": True}
    classes = tuple(
        TrafficClass(slo=Slo(name=name, ttft_s=ttft_s), share=share, trace=ClassTrace(name=f"{name}.csv"))
        for name, share, ttft_s in (("chat", 0.75, 0.8), ("code", 0.25, 2.0))
    )
    return Settings(**{**told, "classes": classes, **fields})


def replay(**fields: Any) -> Settings:
    return mixed(**{"arrivals": Arrivals.TRACE, "rate_per_s": None, "sample": Sample.FIRST, "requests": None, **fields})


def tokens(request: Request) -> int:
    assert isinstance(request.prompt, Synthetic)
    return request.prompt.tokens


def of(name: str, requests: Sequence[Request]) -> list[Request]:
    return [request for request in requests if request.slo.name == name]


def test_a_class_asks_for_the_lengths_of_its_own_trace_in_its_share():
    requests = draw_load(mixed(requests=2000, rate_per_s=5.0), BOTH)
    chat, code = of("chat", requests), of("code", requests)
    assert len(chat) / 2000 == pytest.approx(0.75, abs=0.03)
    assert {tokens(request) for request in chat} == set(range(100, 150))
    assert min(tokens(request) for request in code) >= 1000
    assert {request.slo.ttft_s for request in chat} == {0.8}
    assert requests[-1].arrival_s == pytest.approx(400, rel=0.1)


@pytest.mark.parametrize("told", [mixed(), mixed(arrivals=Arrivals.GAMMA), mixed(arrivals=Arrivals.CLOSED), replay()])
def test_a_seed_gives_the_same_load_again(told):
    assert draw_load(told, BOTH) == draw_load(told, BOTH)


def test_traces_are_replayed_over_each_other_until_the_first_of_them_ends():
    requests = draw_load(replay(), BOTH)
    assert [request.arrival_s for request in of("chat", requests)] == [2.0 * number for number in range(50)]
    assert [request.arrival_s for request in of("code", requests)] == [float(number) for number in range(99)]
    arrivals_s = [request.arrival_s for request in requests]
    assert arrivals_s == sorted(arrivals_s)


def test_a_replay_at_a_rate_has_each_class_at_its_share_of_it():
    requests = draw_load(replay(rate_per_s=4.0), BOTH)
    lasts_s = requests[-1].arrival_s
    assert len(of("chat", requests)) / lasts_s == pytest.approx(3.0, rel=0.1)
    assert len(of("code", requests)) / lasts_s == pytest.approx(1.0, rel=0.1)
    assert (len(requests) - 1) / lasts_s == pytest.approx(4.0)


def test_of_a_replay_there_may_be_the_first_ones_only():
    requests = draw_load(replay(requests=4), BOTH)
    assert [(request.slo.name, request.arrival_s) for request in requests] == [
        ("chat", 0.0),
        ("code", 0.0),
        ("code", 1.0),
        ("chat", 2.0),
    ]


def test_sessions_of_different_classes_are_different_ones():
    trace = [TraceRequest(0.0, 50, 5, session="1", slo_class=name) for name in ("chat", "code")]
    one, other = draw_load(replay(), trace)
    assert one.prompt_text != other.prompt_text


def test_a_class_makes_of_its_trace_what_it_is_told():
    trace = ClassTrace(name="t.csv", longer=2.0, cut_prompt_tokens=150, cut_output_tokens=7)
    assert trace.of(TraceRequest(1.0, 70, 5)) == TraceRequest(1.0, 140, 5)
    assert trace.of(TraceRequest(1.0, 80, 9, text="Why?")) == TraceRequest(1.0, 150, 7)
    assert ClassTrace(name="t.csv").of(TraceRequest(1.0, 80, 9, text="Why?")).text == "Why?"


@pytest.mark.parametrize(
    ("told", "trace", "problem"),
    [
        (mixed(sample=Sample.FIRST), BOTH, "requests are drawn, or all are replayed"),
        (mixed(most_prompt_tokens=500), BOTH, "no request of the trace of class 'code' is within the limits"),
        (replay(), (*LENGTHS, *CODE), "the trace of class 'chat' has lengths, but no arrivals"),
        (replay(sample=Sample.DRAW), BOTH, "no arrivals of their own"),
    ],
)
def test_what_cannot_be_is_refused(told, trace, problem):
    with pytest.raises(ImpossibleLoad, match=problem):
        draw_load(told, trace)
