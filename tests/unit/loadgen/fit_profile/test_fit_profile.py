"""A profile fitted to logged steps tells those steps again."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadgen.fit_profile.__main__ import main
from loadgen.fit_profile.fit import fit_costs, noise_of
from loadgen.steplog import LoggedStep
from services.engine.emulation import StepTimes
from services.engine.profile import load_profile
from shared.steptime import StepShape
from shared.telemetry import StepReport, Telemetry
from shared.wire import encode

TRUTH = load_profile("h100-llama3.1-8b")


def shapes(count: int) -> list[StepShape]:
    """Decodes mostly, of batches and contexts that grow and shrink; a chunk beside them in every third step."""
    random = np.random.default_rng(0)
    made = []
    for i in range(count):
        seqs = int(random.integers(1, 48))
        kv_tokens = seqs * int(random.integers(100, 2000))
        chunk = int(random.choice([256, 512, 1024])) - seqs if i % 3 == 0 else 0
        prefill = StepShape(1, chunk, 0, chunk**2 / 2, 1) if chunk else StepShape(0, 0)
        made.append(StepShape(*(a + b for a, b in zip(StepShape(seqs, seqs, kv_tokens), prefill, strict=True))))
    return made


@pytest.fixture(scope="module")
def steps() -> Sequence[LoggedStep]:
    times = StepTimes(TRUTH, seed=1)
    return [LoggedStep(shape, times.next_s(shape), float(i)) for i, shape in enumerate(shapes(2400))]


@pytest.fixture(scope="module")
def log(steps: Sequence[LoggedStep], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("log") / "steps.jsonl"
    path.write_bytes(b"\n".join(map(_row, steps)))
    return path


def _row(step: LoggedStep) -> bytes:
    """As vLLM logs it: one sequence holds the cache of all."""
    shape = step.shape
    decodes = int(shape.batch_size) - int(shape.prefill_seqs)
    chunk = [int(shape.num_tokens) - decodes] if shape.prefill_seqs else []
    return msgspec.json.encode(
        {
            "timestamp": step.at_s,
            "chunk_sizes": [1] * decodes + chunk,
            "all_computed_tokens": [int(shape.kv_tokens)] + [0] * (decodes - 1 + len(chunk)),
            "model_run_duration_ms": step.duration_s * 1e3,
        }
    )


def test_costs_come_near_to_what_was_logged(steps):
    costs = fit_costs(steps)
    fitted = StepTimes(msgspec.structs.replace(TRUTH, **costs._asdict()), 0)
    truth = StepTimes(TRUTH, 0)
    errors = [abs(fitted.expected_s(step.shape) / truth.expected_s(step.shape) - 1) for step in steps]
    assert np.median(errors) < 0.01
    assert np.percentile(errors, 95) < 0.04
    assert costs.kv_ms_per_token == pytest.approx(TRUTH.kv_ms_per_token, rel=0.2)


def test_all_steps_together_take_as_long_replayed_as_they_did(steps):
    residuals = np.random.default_rng(3).gamma(0.5, 0.08, len(steps))
    residuals -= np.median(residuals)
    noise = noise_of(steps, residuals)
    actual_s = sum(step.duration_s for step in steps)
    expected_s = sum(step.duration_s / (1.0 + residual) for step, residual in zip(steps, residuals, strict=True))
    stalls_s = noise.stall_share * len(steps) * noise.stall_ms / 1e3
    assert expected_s * (1.0 + np.mean(noise.residuals)) + stalls_s == pytest.approx(actual_s, rel=0.005)


def test_noise_keeps_its_spread_and_stalls_stand_apart(steps):
    residuals = np.random.default_rng(1).normal(0, 0.02, len(steps))
    residuals[::100] = 2.0
    noise = noise_of(steps, residuals)
    assert noise.stall_share == pytest.approx(0.01)
    assert np.std(noise.residuals) == pytest.approx(0.02, rel=0.15)
    assert max(noise.residuals) < 0.25


def test_the_command_writes_a_profile_that_loads_and_says_how_well_it_fits(log, tmp_path, capsys):
    output = tmp_path / "profiles" / "mine.json"
    status = main([str(log), "--name", "mine", "--model", "Mine-1B", "--kv-tokens", "1000", "--output", str(output)])
    assert status == 0
    profile = load_profile(output)
    assert (profile.name, profile.model, profile.hardware_class) == ("mine", "Mine-1B", "mine")
    assert (profile.kv_blocks_total, profile.max_step_tokens) == (62, 1024)
    assert "steps.jsonl" in profile.source
    assert "fitted to first halves, on second" in capsys.readouterr().out


def test_our_own_telemetry_is_read_too(steps, tmp_path):
    path, output = tmp_path / "telemetry.jsonl", tmp_path / "mine.json"
    path.write_bytes(b"\n".join(encode(_message(i, steps[i : i + 3])) for i in range(0, len(steps), 3)))
    assert main([str(path), "--name", "mine", "--output", str(output)]) == 0
    assert load_profile(output).kv_ms_per_token == pytest.approx(TRUTH.kv_ms_per_token, rel=0.2)


def _message(number: int, steps: Sequence[LoggedStep]) -> Telemetry:
    reports = tuple(
        StepReport(
            step=number + i,
            start_s=step.at_s,
            batch_size=int(step.shape.batch_size),
            prefill_seqs=int(step.shape.prefill_seqs),
            prefill_tokens=int(step.shape.num_tokens),
            decode_tokens=0,
            kv_tokens=int(step.shape.kv_tokens),
            attention_work=float(step.shape.attention_work),
            planned_ms=0.0,
            predicted_ms=0.0,
            duration_ms=step.duration_s * 1e3,
            wall_ms=step.duration_s * 1e3,
        )
        for i, step in enumerate(steps)
    )
    return Telemetry(engine="e", lens="l", sequence=number + 1, reports=reports)


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "No such file"), ('{"chunk_sizes": 1}', "line 1"), ("", "no step"), ('{"reports": 1}', "line 1")],
)
def test_a_log_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path, capsys, text, problem):
    path = tmp_path / "bad.jsonl"
    if text is not None:
        path.write_text(text)
    assert main([str(path), "--name", "mine", "--output", str(tmp_path / "mine.json")]) == 2
    assert "bad.jsonl" in (told := capsys.readouterr().err)
    assert problem in told


def test_a_profile_that_could_not_be_named_or_written_is_told(log, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(log), "--name", "mine", "--output", str(tmp_path / "mine")])
    assert "must be a .json file" in capsys.readouterr().err
    assert main([str(log), "--name", "mine", "--output", str(log / "mine.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_engine_of_small_steps_has_no_more_slots_than_its_steps_have_tokens(log, tmp_path):
    output = tmp_path / "mine.json"
    assert main([str(log), "--name", "mine", "--max-step-tokens", "64", "--output", str(output)]) == 0
    assert load_profile(output).max_slots == 64


def test_a_log_too_short_to_judge_is_refused(log, tmp_path, capsys):
    path = tmp_path / "short.jsonl"
    path.write_bytes(b"\n".join(log.read_bytes().splitlines()[:50]))
    assert main([str(path), "--name", "mine", "--output", str(tmp_path / "mine.json")]) == 2
    assert "too few steps" in capsys.readouterr().err
