"""What is made of a request that has ended: lessons for the next ones, counts of promises kept and broken, and a receipt."""

import math
from collections.abc import Callable

from services.prism.account import ANSWERED, Account, receipt_of
from services.prism.bytes_per_token import BytesPerToken
from services.prism.calibration import Calibration
from services.prism.metrics import Metrics
from services.prism.output_lengths import OutputLengths
from services.prism.route import Route
from shared.receipt import Receipt


class Hindsight:
    """Of one replica.

    Args:
        keep: takes each receipt; must not wait.

    Attributes:
        calibration: how predictions came true.
        lengths: how long answers are.
        bytes_per_token: of prompts, by model.
    """

    def __init__(self, replica: str, metrics: Metrics, keep: Callable[[Receipt], None]) -> None:
        self.calibration = Calibration()
        self.lengths = OutputLengths()
        self.bytes_per_token = BytesPerToken()
        self._replica = replica
        self._metrics = metrics
        self._keep = keep

    def promised(self, account: Account, route: Route) -> None:
        """A request is sent where its targets are to be kept with some chance; one that it had elsewhere says nothing any more."""
        intake = account.intake
        if account.promise is not None:
            self.calibration.promises.settle(account.promise, None)
            account.promise = None
        if intake is None or route.presumed_p_met is None or not intake.slo.promises:
            return
        ttft_s = intake.slo.ttft_s if intake.stream else None
        account.promise = self.calibration.promises.make(
            route.presumed_p_met,
            intake.arrived_at_s,
            model_known=route.model_known,
            first_token_due_s=math.inf if ttft_s is None else intake.arrived_at_s + ttft_s,
            has_begun=lambda: account.first_byte_s is not None,
        )

    def receipt(self, account: Account, outcome: str, duration_s: float) -> Receipt | None:
        """What there is to say of a request now."""
        return receipt_of(account, outcome, duration_s, self._replica)

    def take(self, account: Account, outcome: str, duration_s: float) -> None:
        """A request has ended."""
        receipt = account.told if outcome == ANSWERED else None
        receipt = receipt or self.receipt(account, outcome, duration_s)
        if account.promise is not None:
            met = receipt.met if receipt is not None and outcome == ANSWERED else None
            self.calibration.promises.settle(account.promise, met)
        if outcome == ANSWERED:
            self._learn(account)
        if receipt is not None:
            self._metrics.count(receipt)
            self._keep(receipt)

    def _learn(self, account: Account) -> None:
        intake, route, ending = account.intake, account.route, account.ending
        if intake is None or route is None or account.ended_s is None:
            return
        ttft_s = None
        if account.ttft_s is not None and account.sent_s is not None:
            ttft_s = account.ttft_s - account.sent_s
        # What was foreseen with next to nothing known of the engine says nothing of how it is foreseen later.
        if route.model_known:
            self.calibration.note(
                route.engine, route.predicted_ttft_s, ttft_s, route.predicted_tpot_s, account.tpot_s, route.correction
            )
        # An answer that ignores its end says nothing of where it would have been.
        if ending.output_tokens is not None and ending.finish_reason in ("stop", "length") and not intake.ignore_eos:
            client, cut = intake.standing.tenant, ending.finish_reason == "length"
            self.lengths.learn(intake.model, client, ending.output_tokens, cut=cut)
