"""What lens counts for Prometheus."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from services.lens.scheduler import Scheduler
from shared.errors import ApiError
from shared.telemetry import Report, RequestReport, StepReport

_STEP_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
_REQUEST_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class LensMetrics:
    """Counts steps and requests from the very reports that go to NATS."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._step_s = Histogram(
            "lens_step_seconds", "time of a step in the executor", buckets=_STEP_BUCKETS_S, registry=self.registry
        )
        self._step_overhead_s = Counter(
            "lens_step_overhead_seconds", "time of steps outside the executor", registry=self.registry
        )
        self._tokens = Counter("lens_tokens", "tokens run", ["phase"], registry=self.registry)
        self._requests = Counter("lens_requests", "requests ended", ["outcome"], registry=self.registry)
        self._relegated = Counter(
            "lens_relegated_requests", "requests served behind those that could be on time", registry=self.registry
        )
        self._refusals = Counter(
            "lens_refusals", "requests answered by nothing but an error", ["code"], registry=self.registry
        )
        self._ttft_s = Histogram(
            "lens_ttft_seconds", "arrival to first token", buckets=_REQUEST_BUCKETS_S, registry=self.registry
        )
        self._decoding = Gauge("lens_decoding_sequences", "sequences that decode", registry=self.registry)
        self._waiting = Gauge("lens_waiting_requests", "requests waiting", registry=self.registry)
        self._kv_blocks_free = Gauge("lens_kv_blocks_free", "KV blocks free", registry=self.registry)
        self._copied = Gauge(
            "lens_copied_tokens", "tokens found in the cache, not computed, since the start", registry=self.registry
        )
        self._recomputed = Gauge(
            "lens_recomputed_sequences", "sequences that made room for others, since the start", registry=self.registry
        )
        self._missing = Gauge("lens_missing", "1 for each part that lens lacks now", ["part"], registry=self.registry)
        self.telemetry_dropped = Gauge(
            "lens_telemetry_dropped_reports", "reports dropped from a full buffer", registry=self.registry
        )

    def count(self, report: Report) -> None:
        """Take one report into account."""
        match report:
            case StepReport():
                self._step_s.observe(report.duration_ms / 1e3)
                self._step_overhead_s.inc(max(report.wall_ms - report.duration_ms, 0.0) / 1e3)
                self._tokens.labels("prefill").inc(report.prefill_tokens)
                self._tokens.labels("decode").inc(report.decode_tokens)
            case RequestReport():
                self._requests.labels(report.outcome).inc()
                self._relegated.inc(report.relegated)
                if report.ttft_ms is not None:
                    self._ttft_s.observe(report.ttft_ms / 1e3)

    def count_refusal(self, error: ApiError) -> None:
        """Count a request that was answered by this error."""
        self._refusals.labels(error.code or error.type).inc()

    def show_missing(self, parts: Iterable[str]) -> None:
        """Set the gauges to what lens lacks now."""
        self._missing.clear()
        for part in parts:
            self._missing.labels(part).set(1)

    def show(self, scheduler: Scheduler) -> None:
        """Set the gauges to what runs and waits now."""
        load = scheduler.load(time.monotonic())
        self._decoding.set(load.decode_seqs)
        self._waiting.set(load.waiting_requests)
        self._kv_blocks_free.set(load.kv_blocks_free)
        self._copied.set(scheduler.copied_tokens)
        self._recomputed.set(scheduler.recomputes)
