import argparse

import pytest

from loadgen.load import Arrivals, ImpossibleLoad, Settings
from loadgen.options import add_load_options, load_settings, trace_sources
from loadgen.sampling import Sample


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    return parser.parse_args(arguments)


def told(*arguments: str) -> Settings:
    return load_settings(parsed(*arguments), "a-model")


def test_unless_told_otherwise_sixty_prompts_arrive_one_a_second():
    settings = told()
    assert (settings.requests, settings.rate_per_s, settings.arrivals) == (60, 1.0, Arrivals.POISSON)
    assert (settings.trace, settings.ignore_eos, settings.time_scale) == (None, False, 1.0)


def test_the_environment_may_name_the_system(monkeypatch):
    monkeypatch.setenv("LOADGEN_URL", "http://front:8000/v1/")
    assert parsed().url == "http://front:8000"
    assert parsed("--url", "http://other:8000").url == "http://other:8000"


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


def test_a_duration_and_a_number_of_requests_exclude_each_other():
    with pytest.raises(SystemExit):
        parsed("--duration", "30", "--requests", "5")


def test_names_of_ones_own_classes_are_not_sent_unless_told():
    assert told().say_class
    assert not told("--class", "chat:ttft_ms=800").say_class
    assert told("--class", "chat:ttft_ms=800", "--say-class").say_class


def test_rates_of_classes_make_up_the_rate_unless_told():
    rates = ("--class", "chat:rate=3", "--class", "docs:rate=1")
    settings = told(*rates, "--duration", "30")
    assert (settings.rate_per_s, settings.requests) == (4.0, 120)
    assert [traffic.share for traffic in settings.classes] == [0.75, 0.25]
    assert told(*rates, "--rate", "8").rate_per_s == 8.0


def test_answers_are_as_long_as_a_classes_own_trace_says():
    settings = told("--class", "chat:trace=some/conv.csv")
    assert (settings.ignore_eos, settings.trace, settings.source) == (True, None, "conv.csv")


def test_each_class_asks_for_its_own_trace_or_the_runs():
    classes = ("--class", "chat:trace=some/conv.csv", "--class", "docs:ttft_ms=9000")
    options = parsed(*classes, "--trace", "docs.csv")
    assert [(str(source.path), source.slo_class) for source in trace_sources(options)] == [
        ("some/conv.csv", "chat"),
        ("docs.csv", "docs"),
    ]
    assert load_settings(options, "a-model").source == "conv.csv, docs.csv"
    with pytest.raises(ImpossibleLoad, match="class 'docs' has no trace, and others have"):
        told(*classes)


def test_an_address_may_end_as_clients_of_openai_have_it():
    assert told("--url", "http://server:9000/v1/").url == "http://server:9000"


def test_a_long_seed_is_kept_to_its_last_digit():
    assert told("--seed", str(2**60 + 1)).seed == 2**60 + 1


def test_the_time_scale_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TIME_SCALE", "10")
    assert told().time_scale == 10.0
    assert told("--time-scale", "2").time_scale == 2.0


@pytest.mark.parametrize(
    "argument",
    [
        ("--rate", "0"),
        ("--warm-up", "-1"),
        ("--retries", "-1"),
        ("--time-scale", "inf"),
        ("--seed", "-1"),
        ("--cv", "1e200"),
        ("--cv", "1e-200"),
    ],
)
def test_numbers_out_of_range_are_refused(argument):
    with pytest.raises(SystemExit):
        told(*argument)
