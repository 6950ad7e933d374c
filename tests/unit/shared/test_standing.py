import pytest

from shared.errors import BadRequest
from shared.standing import Standing, standing_from_headers


def test_a_request_that_says_nothing_is_nobody_s_and_in_the_middle():
    assert standing_from_headers({}) == Standing(priority=0, tenant="")


@pytest.mark.parametrize(("text", "priority"), [("0", 0), ("7", 7), ("+7", 7), ("-100", -100), ("100", 100)])
def test_a_priority_is_a_whole_number(text, priority):
    assert standing_from_headers({"x-synergy-priority": text}).priority == priority


@pytest.mark.parametrize("text", ["", "101", "-101", "1.5", "1e2", "high", "٣", "9" * 5000])
def test_any_other_priority_is_refused_by_header(text):
    with pytest.raises(BadRequest, match="from -100 to 100") as error:
        standing_from_headers({"x-synergy-priority": text})
    assert error.value.param == "x-synergy-priority"
    assert len(error.value.message) < 200


def test_a_tenant_is_any_printable_name():
    assert standing_from_headers({"x-synergy-tenant": "Smith & Sons/2"}).tenant == "Smith & Sons/2"


@pytest.mark.parametrize("text", ["x" * 129, "tab\t", "é", "\x7f"])
def test_any_other_tenant_is_refused_by_header(text):
    with pytest.raises(BadRequest) as error:
        standing_from_headers({"x-synergy-tenant": text})
    assert error.value.param == "x-synergy-tenant"
