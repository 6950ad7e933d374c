"""What the forecaster counts for Prometheus, read from the models when asked."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.forecaster.learner import Learner


class ForecasterMetrics:
    """The pulling side counts here; what is known of engines is read off their models."""

    def __init__(self, learner: Learner) -> None:
        self.registry = CollectorRegistry()
        self.unreadable = Counter(
            "forecaster_unreadable_messages", "telemetry that could not be decoded", registry=self.registry
        )
        self.lag = Gauge(
            "forecaster_lag_messages", "telemetry in the stream that is not pulled yet", registry=self.registry
        )
        self.registry.register(_EngineCollector(learner))


class _EngineCollector:
    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def collect(self) -> Iterator[Metric]:
        steps = CounterMetricFamily("forecaster_steps_learned", "steps learned", labels=["engine"])
        lost = CounterMetricFamily("forecaster_lost_messages", "gaps in telemetry", labels=["engine"])
        mape = GaugeMetricFamily("forecaster_mape_ratio", "mean relative error of late", labels=["engine"])
        for engine, model in self._learner.models.items():
            steps.add_metric([engine], model.steps_learned)
            lost.add_metric([engine], model.messages_lost)
            if model.mape is not None:
                mape.add_metric([engine], model.mape)
        yield from (steps, lost, mape)
        ignored = "steps reported as no engine could have run them"
        yield CounterMetricFamily("forecaster_ignored_steps", ignored, value=self._learner.steps_ignored)
