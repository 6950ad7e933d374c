import argparse
from pathlib import Path

import pytest

from loadgen.class_option import mix_of, parse_class, rate_of
from loadgen.load import ImpossibleLoad
from loadgen.workload import ClassTrace
from shared.slo import Slo


def test_a_class_has_targets_a_share_and_a_trace():
    option = parse_class("chat:share=3,ttft_ms=800,tpot_ms=40,trace=some/conv.csv,longer=1.5,cut_prompt_tokens=4000")
    assert option.traffic.slo == Slo(name="chat", ttft_s=0.8, tpot_s=0.04)
    assert option.traffic.trace == ClassTrace(name="conv.csv", longer=1.5, cut_prompt_tokens=4000)
    assert (option.trace, option.traffic.share, option.rate_per_s) == (Path("some/conv.csv"), 3.0, None)


def test_a_name_is_enough():
    option = parse_class("best-effort")
    assert (option.traffic.slo, option.trace) == (Slo(name="best-effort"), None)


def test_shares_are_made_to_add_up():
    options = [parse_class("chat:share=3,ttft_ms=800"), parse_class("docs:e2e_ms=10000")]
    assert [traffic.share for traffic in mix_of(options)] == [0.75, 0.25]
    assert mix_of(options)[1].slo == Slo(name="docs", e2e_s=10.0)
    assert rate_of(options) is None


def test_rates_are_shares_and_add_up_to_the_rate():
    options = [parse_class("chat:rate=6"), parse_class("docs:rate=2")]
    assert [traffic.share for traffic in mix_of(options)] == [0.75, 0.25]
    assert rate_of(options) == 8.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chat:ttft=1", "no key 'ttft'"),
        ("all:ttft_ms=1", "'all' is what all classes together are called"),
        ("chat:ttft_ms=1,ttft_ms=2", "class 'chat' has a key twice"),
        ("chat:ttft_ms=0", "ttft_ms is not above 0: '0'"),
        ("chat:ttft_ms=soon", "soon"),
        ("chat:trace=a.csv,cut_prompt_tokens=1.5", "cut_prompt_tokens is not a whole number above 0"),
        ("chat:share=1,rate=2", "a share or a rate, not both"),
        ("chat:longer=2,cut_output_tokens=5", "cut_output_tokens, longer: class 'chat' has no trace=FILE"),
        (":share=1", "name"),
    ],
)
def test_a_class_that_is_not_one_is_refused(text, problem):
    with pytest.raises(argparse.ArgumentTypeError, match=problem):
        parse_class(text)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("chat:share=1", "chat:share=2"), "more than one class is called 'chat'"),
        (("chat:rate=1", "docs:share=2"), "either all classes have a rate, or none has"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(texts, problem):
    with pytest.raises(ImpossibleLoad, match=problem):
        mix_of([parse_class(text) for text in texts])
