"""What prism counts, for Prometheus; what is known of engines is filled in when it is asked for."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from shared.receipt import Receipt

ROUTE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
PROBABILITY_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


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
        self.receipts_dropped = Counter(
            "prism_receipts_dropped", "Receipts that were not written: Redis is away or slow", registry=registry
        )
        self._promises = Counter(
            "prism_promises",
            "Requests with targets, by whether they met them",
            ["slo_class", "outcome"],
            registry=registry,
        )
        self._p_met = Histogram(
            "prism_p_met",
            "Foreseen probability that targets would be met, by whether they were",
            ["outcome"],
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self._forgone = Counter(
            "prism_forgone_promises",
            "Expected number that the likeliest engine at each decision would have kept beyond the one chosen",
            registry=registry,
        )
        self._regretted = Counter(
            "prism_regretted_promises",
            "Expected number of those broken that the best other engine would have kept, by what was foreseen of it",
            registry=registry,
        )
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

    def count(self, receipt: Receipt) -> None:
        """Take into account what came of a promise."""
        if receipt.met is None:
            return
        outcome = "kept" if receipt.met else "broken"
        self._promises.labels(receipt.slo_class, outcome).inc()
        if receipt.p_met is None:
            return
        self._p_met.labels(outcome).observe(receipt.p_met)
        if receipt.best_other_p_met is not None:
            self._forgone.inc(max(receipt.best_other_p_met - receipt.p_met, 0.0))
            if not receipt.met:
                self._regretted.inc(receipt.best_other_p_met)

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
