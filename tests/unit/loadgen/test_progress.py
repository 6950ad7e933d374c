import io

from rich.console import Console

from loadgen.progress import MOST_PROBLEMS, Progress
from tests.unit.loadgen.outcomes import an_outcome


def test_a_problem_is_shown_once_and_only_a_few_are() -> None:
    shown = io.StringIO()
    with Progress(Console(file=shown), 40) as progress:
        for number in range(40):
            progress.ended(an_outcome(error=f"gone {number // 4}"))
    assert shown.getvalue().count("request failed") == MOST_PROBLEMS
    assert shown.getvalue().count("gone 0") == 1
