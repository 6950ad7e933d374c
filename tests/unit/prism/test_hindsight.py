"""A request that has ended teaches, is counted, and leaves a receipt."""

import pytest

from services.prism.account import ANSWERED, BROKEN, REFUSED, Account
from services.prism.calibration import UNCORRECTED
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from services.prism.hindsight import Hindsight
from services.prism.metrics import Metrics
from services.prism.output_lengths import TYPICAL
from services.prism.stream_end import Ending
from shared.receipt import Receipt
from tests.unit.prism.builders import account


class _Kept:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.receipts: list[Receipt] = []
        self.hindsight = Hindsight("r", self.metrics, self.receipts.append)

    def shown(self, name: str) -> dict[str, float]:
        """Of one metric, the values that are not 0, by labels."""
        lines = self.metrics.exposition(Fleet(), Dispatches("r"), 0.0).decode().splitlines()
        values = (line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith(name))
        return {labels: float(value) for labels, value in values if float(value)}


@pytest.fixture
def kept() -> _Kept:
    return _Kept()


def test_an_answer_teaches_its_length_and_how_its_prediction_came_true(kept: _Kept) -> None:
    for _ in range(50):
        kept.hindsight.take(account(sent_s=0.0), ANSWERED, 2.0)
    known = kept.hindsight.calibration.of("a")
    assert known.ttft_factor == pytest.approx(2.0, rel=0.15)  # 0.5 s was foreseen
    assert known.tpot_factor == pytest.approx(2.0, rel=0.15)
    assert kept.hindsight.lengths.of("m", "acme").expected() < 40
    assert len(kept.receipts) == 50


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (account(ended_s=None, ending=Ending()), BROKEN),
        (account(ended_s=None, status=429), REFUSED),
        (Account(request_id="r", status=400), REFUSED),
    ],
)
def test_what_was_not_answered_teaches_nothing(kept: _Kept, ended: Account, outcome: str) -> None:
    kept.hindsight.take(ended, outcome, 2.0)
    assert kept.hindsight.calibration.of("a") == UNCORRECTED
    assert kept.hindsight.lengths.of("m", "acme") is TYPICAL


def test_promises_are_counted_by_class_and_by_how_probable_they_were(kept: _Kept) -> None:
    kept.hindsight.take(account(), ANSWERED, 2.0)
    kept.hindsight.take(account(first_byte_s=1.5), ANSWERED, 2.0)
    assert kept.shown("prism_promises_total") == {
        '{outcome="kept",slo_class="interactive"}': 1.0,
        '{outcome="broken",slo_class="interactive"}': 1.0,
    }
    assert kept.shown("prism_p_met_sum") == {'{outcome="kept"}': 0.9, '{outcome="broken"}': 0.9}
    assert kept.shown("prism_regretted_promises_total") == {
        "": 0.8
    }  # what the best other engine would have been good for
    assert kept.shown("prism_forgone_promises_total") == {}  # the likeliest was chosen
