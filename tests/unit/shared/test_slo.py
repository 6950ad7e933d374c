import pytest

from shared.errors import BadRequest
from shared.slo import Slo, headers_from_slo, slo_from_headers, tpot_s

CLASSES = {"chat": Slo(name="chat", ttft_s=0.5, tpot_s=0.05), "default": Slo(ttft_s=9.0)}


def test_a_class_brings_its_targets():
    assert slo_from_headers({"x-slo-class": "chat"}, CLASSES) == CLASSES["chat"]


def test_a_request_without_a_class_has_the_default_one():
    assert slo_from_headers({}, CLASSES).ttft_s == 9.0


def test_where_no_default_is_configured_nothing_is_promised():
    assert slo_from_headers({}, {}) == Slo()


def test_a_target_of_its_own_replaces_that_of_the_class():
    slo = slo_from_headers({"x-slo-class": "chat", "x-slo-tpot-ms": "80"}, CLASSES)
    assert (slo.name, slo.ttft_s, slo.tpot_s) == ("chat", 0.5, 0.08)


def test_the_other_names_of_the_headers_count_too():
    slo = slo_from_headers({"x-llm-d-slo-ttft-ms": "250", "x-llm-d-slo-tpot-ms": "20"}, {})
    assert (slo.ttft_s, slo.tpot_s) == (0.25, 0.02)


@pytest.mark.parametrize("text", ["0", "-5", "soon", "nan", "inf", "1e99"])
def test_a_target_that_is_none_is_refused_by_header(text):
    with pytest.raises(BadRequest) as error:
        slo_from_headers({"x-slo-ttft-ms": text}, {})
    assert error.value.param == "x-slo-ttft-ms"


def test_an_unknown_class_is_refused_with_those_there_are():
    with pytest.raises(BadRequest, match=r"'gold'.*chat"):
        slo_from_headers({"x-slo-class": "gold"}, CLASSES)


def test_the_default_class_is_one_of_those_there_are_though_nobody_configured_it():
    with pytest.raises(BadRequest, match=r"there are \['chat', 'default'\]"):
        slo_from_headers({"x-slo-class": "gold"}, {"chat": CLASSES["chat"]})


def test_behind_a_router_the_class_is_only_a_label():
    assert slo_from_headers({"x-slo-class": "gold"}).name == "gold"


def test_what_the_router_passes_on_is_read_the_same():
    slo = Slo(name="default", ttft_s=0.25, tpot_s=0.02)
    assert slo_from_headers(headers_from_slo(slo)) == slo


@pytest.mark.parametrize(
    ("ttft_s", "per_token_s", "e2e_s", "kept"),
    [
        (1.0, 0.1, 5.0, True),
        (1.1, 0.1, 5.0, False),
        (1.0, 0.11, 5.0, False),
        (1.0, 0.1, 5.1, False),
        (1.0, None, 1.0, True),
    ],
)
def test_all_targets_must_be_met(ttft_s, per_token_s, e2e_s, kept):
    slo = Slo(ttft_s=1.0, tpot_s=0.1, e2e_s=5.0)
    assert slo.met(ttft_s=ttft_s, tpot_s=per_token_s, e2e_s=e2e_s) is kept


def test_one_token_has_no_time_per_token_after_the_first():
    assert tpot_s(ttft_s=1.0, e2e_s=1.0, output_tokens=1) is None
    assert tpot_s(ttft_s=1.0, e2e_s=3.0, output_tokens=5) == 0.5
