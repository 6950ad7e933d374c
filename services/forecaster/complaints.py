"""What is said of telemetry that nothing was learned from: all of it is counted, a line of the log a minute tells of it."""

import time
from collections import Counter

import structlog

from services.forecaster.intake import Reason
from services.forecaster.learner import Lesson

log = structlog.get_logger()

BETWEEN_LINES_S = 60.0
"""Of one reason."""


class Complaints:
    """Counts and tells.

    Attributes:
        counts: by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self._told: Counter[Reason] = Counter()
        self._told_at_s: dict[Reason, float] = {}

    def note(self, lesson: Lesson) -> None:
        """Count what was set aside of a message."""
        for reason, problem, _ in lesson.set_aside:
            self.counts[reason] += 1
            now_s = time.monotonic()
            if now_s - self._told_at_s.get(reason, -BETWEEN_LINES_S) >= BETWEEN_LINES_S:
                log.warning(
                    "telemetry set aside",
                    reason=reason,
                    problem=problem,
                    engine=lesson.engine,
                    sequence=lesson.position.sequence,
                    since_last_line=self.counts[reason] - self._told[reason],
                )
                self._told[reason] = self.counts[reason]
                self._told_at_s[reason] = now_s
