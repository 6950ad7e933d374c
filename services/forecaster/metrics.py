"""What the forecaster counts for Prometheus; most of it is read where it is kept, when asked."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.forecaster.complaints import Complaints
from services.forecaster.learner import Learner


class ForecasterMetrics:
    """`num_pending`: messages of this replica's partitions that are in the stream and have not come yet."""

    def __init__(self, learner: Learner, complaints: Complaints, num_pending: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._learner = learner
        self._complaints = complaints
        self._num_pending = num_pending
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield from self._of_engines()
        set_aside = CounterMetricFamily("forecaster_set_aside", "messages and reports not learned", labels=["reason"])
        for reason, count in self._complaints.counts.items():
            set_aside.add_metric([reason], count)
        yield set_aside
        fenced = "messages that came under a lease that had ended"
        yield CounterMetricFamily("forecaster_fenced_messages", fenced, value=self._learner.messages_fenced)
        yield GaugeMetricFamily("forecaster_partitions", "partitions held", value=len(self._learner.held))
        lag = "telemetry in the stream that has not come yet"
        yield GaugeMetricFamily("forecaster_lag_messages", lag, value=self._num_pending())

    def _of_engines(self) -> Iterator[Metric]:
        steps = CounterMetricFamily("forecaster_steps_learned", "steps learned", labels=["engine"])
        lost = CounterMetricFamily("forecaster_lost_messages", "gaps in telemetry", labels=["engine"])
        duplicates = CounterMetricFamily("forecaster_duplicate_messages", "messages that came again", labels=["engine"])
        mape = GaugeMetricFamily("forecaster_mape_ratio", "mean relative error of late", labels=["engine"])
        for model in self._learner.models:
            steps.add_metric([model.engine], model.steps_learned)
            lost.add_metric([model.engine], model.messages_lost)
            duplicates.add_metric([model.engine], self._learner.duplicates[model.engine])
            if model.mape is not None:
                mape.add_metric([model.engine], model.mape)
        yield from (steps, lost, duplicates, mape)
