"""A receipt joins what was promised to what came of it, and claims no more than the router saw."""

from typing import Any

import msgspec
import pytest

from services.prism.account import ANSWERED, BROKEN, CLIENT_GONE, FAILED, REFUSED, Account, comment_of, receipt_of
from services.prism.stream_end import Ending
from shared.slo import Slo
from tests.unit.prism.builders import account


def _met(ended: Account, outcome: str = ANSWERED, duration_s: float = 2.0) -> bool | None:
    receipt = receipt_of(ended, outcome, duration_s, "replica")
    assert receipt is not None
    return receipt.met


def test_a_receipt_has_the_promise_and_what_came_of_it() -> None:
    receipt = receipt_of(account(), ANSWERED, 2.5, "replica")
    assert receipt is not None
    assert (receipt.model, receipt.slo_class, receipt.tenant, receipt.engine) == ("m", "interactive", "acme", "a")
    assert (receipt.target_ttft_ms, receipt.predicted_ttft_ms, receipt.ttft_ms) == (1000.0, 500.0, 1000.0)
    assert (receipt.target_tpot_ms, receipt.predicted_tpot_ms, receipt.tpot_ms) == (100.0, 50.0, 100.0)
    assert (receipt.p_met, receipt.best_other_p_met, receipt.met) == (0.9, 0.8, True)
    assert (receipt.e2e_ms, receipt.output_tokens, receipt.state_age_ms) == (2000.0, 11, 20.0)
    told = comment_of(receipt)
    assert told.startswith(b": synergy {")
    assert told.endswith(b"}\n\n")
    assert msgspec.json.decode(told.removeprefix(b": synergy ")) == {
        "engine": "a",
        "predicted_ttft_ms": 500.0,
        "ttft_ms": 1000.0,
        "predicted_tpot_ms": 50.0,
        "tpot_ms": 100.0,
        "p_met": 0.9,
        "met": True,
        "route_ms": 1.0,
    }


def test_what_was_never_taken_in_was_promised_nothing() -> None:
    assert receipt_of(Account(request_id="r"), REFUSED, 1.0, "replica") is None
    assert _met(account(Slo())) is None


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, True),
        ({"first_byte_s": 1.001}, False),
        ({"ended_s": 2.002}, False),
        ({"ended_s": 2.5, "ending": Ending(1)}, True),  # of one token there is no time per token
    ],
)
def test_a_stream_shows_whether_it_met_its_targets(changes: dict[str, Any], met: bool) -> None:
    assert _met(account(**changes)) is met


@pytest.mark.parametrize(
    ("slo", "ended_s", "tokens", "met"),
    [
        (Slo(ttft_s=1.0, tpot_s=0.1), 0.9, 11, True),  # all of it was there in time, so its first token was
        (Slo(ttft_s=1.0), 5.0, 11, None),
        (Slo(tpot_s=0.1), 5.0, 11, None),
        (Slo(tpot_s=0.1), 0.9, 11, True),
        (Slo(e2e_s=4.0), 5.0, 11, False),
        (Slo(e2e_s=6.0), 5.0, None, True),
        (Slo(ttft_s=1.0, e2e_s=4.0), 5.0, None, False),
    ],
)
def test_of_an_answer_in_one_piece_only_what_is_certain_is_said(
    slo: Slo, ended_s: float, tokens: int | None, met: bool | None
) -> None:
    assert _met(account(slo, is_stream=False, first_byte_s=ended_s, ended_s=ended_s, ending=Ending(tokens))) is met


@pytest.mark.parametrize(
    ("outcome", "status", "met"),
    [(REFUSED, 429, False), (FAILED, 503, False), (BROKEN, 200, False), (REFUSED, 400, None), (REFUSED, 404, None)],
)
def test_what_ends_badly_breaks_its_promise_unless_the_client_is_to_blame(
    outcome: str, status: int, met: bool | None
) -> None:
    ended = account(status=status, ended_s=None, first_byte_s=None, ending=Ending())
    assert _met(ended, outcome) is met
    receipt = receipt_of(ended, outcome, 2.0, "replica")
    assert receipt is not None
    assert receipt.refused is (status == 429)


@pytest.mark.parametrize(
    ("first_byte_s", "left_after_s", "met"), [(None, 0.9, None), (None, 1.1, False), (0.9, 5.0, None)]
)
def test_a_client_that_leaves_has_a_broken_promise_only_if_it_was_broken_by_then(
    first_byte_s: float | None, left_after_s: float, met: bool | None
) -> None:
    ended = account(status=499, ended_s=None, first_byte_s=first_byte_s, ending=Ending())
    assert _met(ended, CLIENT_GONE, left_after_s) is met
