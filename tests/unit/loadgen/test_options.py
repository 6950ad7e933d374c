import argparse

import pytest

from loadgen.load import Arrivals, ImpossibleLoad
from loadgen.options import add_load_options, load_settings, parse_class
from loadgen.sampling import Sample
from shared.slo import Slo


def told(*arguments: str):
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    return load_settings(parser.parse_args(arguments), "a-model")


def test_unless_told_otherwise_sixty_prompts_arrive_one_a_second():
    settings = told()
    assert (settings.requests, settings.rate_per_s, settings.arrivals) == (60, 1.0, Arrivals.POISSON)
    assert (settings.trace, settings.ignore_eos, settings.time_scale) == (None, False, 1.0)


def test_a_replay_is_the_whole_trace_at_its_own_rate():
    settings = told("--arrivals", "trace", "--trace", "some/conv.csv")
    assert (settings.requests, settings.rate_per_s, settings.sample) == (None, None, Sample.FIRST)
    assert (settings.trace, settings.ignore_eos) == ("conv.csv", True)


def test_a_duration_is_as_many_requests_as_the_rate_brings():
    assert told("--rate", "5", "--duration", "30").requests == 150
    assert told("--arrivals", "ramp", "--rate", "2", "--to-rate", "8", "--duration", "30").requests == 150


def test_a_duration_without_a_rate_is_refused():
    with pytest.raises(ImpossibleLoad, match="--rate"):
        told("--arrivals", "closed", "--duration", "30")


def test_shares_of_classes_are_made_to_add_up():
    settings = told("--class", "chat:share=3,ttft_ms=800,tpot_ms=40", "--class", "docs:share=1,e2e_ms=10000")
    assert [traffic.share for traffic in settings.classes] == [0.75, 0.25]
    assert settings.classes[0].slo == Slo(name="chat", ttft_s=0.8, tpot_s=0.04)
    assert settings.classes[1].slo == Slo(name="docs", e2e_s=10.0)


def test_names_of_ones_own_classes_are_not_sent_unless_told():
    assert told().say_class
    assert not told("--class", "chat:ttft_ms=800").say_class
    assert told("--class", "chat:ttft_ms=800", "--say-class").say_class


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chat:ttft=1", "no key 'ttft'"),
        ("chat:ttft_ms=0", "not above 0"),
        ("chat:ttft_ms=soon", "soon"),
        (":share=1", "name"),
    ],
)
def test_a_class_that_is_not_one_is_refused(text, problem):
    with pytest.raises(argparse.ArgumentTypeError, match=problem):
        parse_class(text)


def test_an_address_may_end_as_clients_of_openai_have_it():
    assert told("--url", "http://server:9000/v1/").url == "http://server:9000"


def test_the_time_scale_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TIME_SCALE", "10")
    assert told().time_scale == 10.0
    assert told("--time-scale", "2").time_scale == 2.0


@pytest.mark.parametrize(
    "argument", [("--rate", "0"), ("--warm-up", "-1"), ("--retries", "-1"), ("--time-scale", "inf")]
)
def test_numbers_out_of_range_are_refused(argument):
    with pytest.raises(SystemExit):
        told(*argument)
