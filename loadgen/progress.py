"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from loadgen.outcome import Outcome

PLAIN_LINES = 6
MOST_PROBLEMS = 5
"""Different ones, that are shown; the report counts them all."""


class Progress:
    """Counts outcomes; shown while its context is open."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._problems = 0
        self._shown: set[str] = set()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID = self._bar.add_task("answered", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def ended(self, outcome: Outcome) -> None:
        """Count one outcome; a new problem is shown at once."""
        self._done += 1
        if outcome.problem is not None:
            self._problems += 1
            if outcome.problem not in self._shown and len(self._shown) < MOST_PROBLEMS:
                self._shown.add(outcome.problem)
                self._console.print(f"request failed: {outcome.problem}", style="red", markup=False)
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal and (self._done % max(1, self._total // PLAIN_LINES) == 0):
            self._console.print(f"{self._done}/{self._total} answered, {self._problems} failed", markup=False)
