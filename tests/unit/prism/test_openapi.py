"""The description names every endpoint there is, asks for keys where they are asked for, and points at nothing that is not there."""

import json
import re

import msgspec
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from services.prism.advice import shown
from services.prism.openapi import description
from services.prism.openapi_bodies import RouteShown
from services.prism.route import Route as Decision
from tests.unit.prism.builders import LIKELY
from tests.unit.prism.test_app import app

__all__ = ["app"]


async def test_every_endpoint_is_described_with_its_method(app: FastAPI) -> None:
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = description(slo_classes=[], keys=False)["paths"]
    assert served == {(path, method) for path, methods in described.items() for method in methods}


@pytest.mark.parametrize("keys", [False, True])
def test_keys_are_asked_for_under_v1_alone_and_only_where_there_are_some(keys: bool) -> None:
    for path, methods in description(slo_classes=[], keys=keys)["paths"].items():
        for operation in methods.values():
            asks = keys and path.startswith("/v1/")
            assert ("security" in operation, "401" in operation["responses"]) == (asks, asks)


def test_every_reference_leads_somewhere() -> None:
    described = description(slo_classes=["interactive"], keys=True)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert named <= described["components"]["schemas"].keys()


@pytest.mark.parametrize("route", [LIKELY, msgspec.structs.replace(LIKELY, p_met=None, predicted_ttft_s=None)])
def test_a_decision_is_shown_as_it_is_described(route: Decision) -> None:
    told = msgspec.json.decode(msgspec.json.encode(shown(route)))
    assert msgspec.to_builtins(msgspec.convert(told, RouteShown)) == told
    assert told["correction"]["ttft_factor"] == 1.0
