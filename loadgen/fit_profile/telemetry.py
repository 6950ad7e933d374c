"""Steps from our own telemetry, as `nats sub --raw 'synergy.v1.telemetry.ENGINE'` writes it: a JSON message a line."""

from pathlib import Path

from loadgen.steplog import BadStepLog, LoggedStep, read_steps
from shared.telemetry import StepReport, Telemetry
from shared.wire import UnreadableMessage, decode


def read_log(path: Path) -> tuple[LoggedStep, ...]:
    """The steps of a log in either format, in its order.

    Raises:
        BadStepLog: the file cannot be read, a line is neither, or no step remains.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadStepLog(path, None, error.strerror or str(error)) from error
    if not any(b'"reports"' in line for line in lines[:1]):
        return read_steps(path)
    steps: list[LoggedStep] = []
    for number, line in enumerate(lines, start=1):
        try:
            steps += logged_steps(decode(line, Telemetry)) if line.strip() else ()
        except UnreadableMessage as error:
            raise BadStepLog(path, number, str(error)) from error
    if not steps:
        raise BadStepLog(path, None, "no step with a duration")
    return tuple(steps)


def logged_steps(message: Telemetry) -> list[LoggedStep]:
    """The steps that a message reports, those that took time."""
    reports = [report for report in message.reports if isinstance(report, StepReport) and report.duration_ms > 0]
    return [
        LoggedStep(report.shape, report.duration_ms / 1e3, report.start_s + report.duration_ms / 1e3)
        for report in reports
    ]
