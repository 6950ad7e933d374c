"""What prism counts, for Prometheus; what is known of engines is filled in when it is asked for."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet

ROUTE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """The metrics of one router, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "prism_requests", "Requests ended, by status and outcome", ["status", "outcome"], registry=registry
        )
        self.routes = Counter("prism_routes", "Routing decisions", ["engine", "reason"], registry=registry)
        self.retries = Counter(
            "prism_retries", "Requests taken from an engine that failed", ["engine"], registry=registry
        )
        self.retries_refused = Counter(
            "prism_retries_refused", "Requests not sent again because the retry budget was spent", registry=registry
        )
        self.hedges = Counter(
            "prism_hedges",
            "Requests sent to this engine as well because another was late",
            ["engine"],
            registry=registry,
        )
        self.hedges_won = Counter("prism_hedges_won", "Of those, the first to answer", ["engine"], registry=registry)
        self.route_seconds = Histogram(
            "prism_route_seconds", "Reading the fleet and choosing", buckets=ROUTE_BUCKETS_S, registry=registry
        )
        self.redis_failures = Counter("prism_redis_failures", "Reads of the fleet that failed", registry=registry)
        self._fleet_age = Gauge("prism_fleet_age_seconds", "Since Redis last answered", registry=registry)
        self._state_age = Gauge("prism_engine_state_age_seconds", "Of an engine's state", ["engine"], registry=registry)
        self._forecast_age = Gauge(
            "prism_engine_forecast_age_seconds", "Of an engine's forecast", ["engine"], registry=registry
        )
        self._outstanding = Gauge(
            "prism_engine_outstanding_requests", "Of this router, at an engine", ["engine"], registry=registry
        )
        self._accepting = Gauge(
            "prism_engine_accepting", "1 where an engine takes new requests", ["engine"], registry=registry
        )
        self._breaker = Gauge(
            "prism_engine_breaker",
            "1 in the state of an engine's circuit breaker: closed, open, half-open",
            ["engine", "state"],
            registry=registry,
        )

    def exposition(self, fleet: Fleet, dispatches: Dispatches, now_s: float) -> bytes:
        """All metrics as text, those of engines as the fleet is now."""
        self._fleet_age.set(fleet.age_s)
        for gauge in (self._state_age, self._forecast_age, self._outstanding, self._accepting, self._breaker):
            gauge.clear()
        for engine in fleet.engines:
            name = engine.state.engine
            self._state_age.labels(name).set(engine.state_age_s(fleet.now_s))
            self._forecast_age.labels(name).set(engine.forecast_age_s(fleet.now_s))
            self._outstanding.labels(name).set(dispatches.load(engine.state, now_s).outstanding_requests)
            self._accepting.labels(name).set(engine.accepts)
            self._breaker.labels(name, dispatches.breaker_state(name, now_s)).set(1)
        return generate_latest(self._registry)
