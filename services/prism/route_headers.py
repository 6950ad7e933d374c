"""What headers say of a route: to the client, and to the engine. Pure."""

from collections.abc import Mapping

from services.prism.account import Account
from services.prism.route import Route
from shared import headers as names
from shared.slo import Slo, headers_from_slo


def client_headers(route: Route, promised: Slo, account: Account) -> dict[str, str]:
    """The beginning of the receipt, with the targets that the request came with."""
    probable = {} if route.p_met is None else {names.P_MET: f"{route.p_met:.4f}"}
    durations = {names.TELEMETRY_AGE_MS: route.state_age_s, names.ROUTE_MS: account.route_s}
    return {
        **headers_from_slo(promised),
        names.REQUEST_ID: account.request_id,
        names.ENGINE: route.engine,
        names.ROUTE_REASON: route.reason,
        **probable,
        **prediction_headers(route),
        **_milliseconds(durations),
    }


def prediction_headers(route: Route) -> dict[str, str]:
    """What is foreseen there, if anything is."""
    predictions = {
        names.PREDICTED_TTFT_MS: route.predicted_ttft_s,
        names.PREDICTED_TPOT_MS: route.predicted_tpot_s,
    }
    return _milliseconds(predictions)


def _milliseconds(durations_s: Mapping[str, float | None]) -> dict[str, str]:
    """As headers, those that are known."""
    return {name: f"{value_s * 1e3:.3f}" for name, value_s in durations_s.items() if value_s is not None}
