import json
from pathlib import Path

import pytest

from loadgen.evaluation.__main__ import main
from loadgen.evaluation.plot import main as plot

KEYS = [
    *("log", "estimator", "steps", "mape", "mape_decode", "mape_mixed", "mape_h50", "r2"),
    *("coverage90", "coverage90_decode", "coverage90_mixed", "width90_ms", "mape_first200"),
    *("learn_us", "predict_us", "recovery_steps"),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """240 steps of 10 ms and 0.1 ms a token, every third with a prefill chunk."""
    path, at_s, lines = tmp_path / "engine.jsonl", 50.0, []
    for number in range(240):
        chunks = [1] * (1 + number % 7) + [16 + number % 100] * (number % 3 == 0)
        duration_ms = 10.0 + 0.1 * sum(chunks) + 0.01 * (number % 5)
        row = {"timestamp": at_s, "chunk_sizes": chunks, "all_computed_tokens": [100 + number] * len(chunks)}
        lines.append(json.dumps({**row, "model_run_duration_ms": duration_ms}))
        at_s += duration_ms / 1e3
    path.write_text("\n".join(lines))
    return path


def test_every_estimator_gets_a_line_of_all_the_keys(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs" / "eval.jsonl"
    assert main(["--output", str(output), "--estimators", "rls,linear", "--slowdown", "2", str(log)]) == 0
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [result["estimator"] for result in results] == ["rls", "linear"]
    for result in results:
        assert list(result) == KEYS
        assert (result["log"], result["steps"]) == ("engine.jsonl", 240)
        assert 0.0 < result["mape"] < 0.05
        assert result["learn_us"] > 0.0 < result["predict_us"]
    printed = capsys.readouterr().out
    assert "engine.jsonl, 240 steps" in printed
    assert "recovers ×2" in printed


def test_a_broken_log_ends_it_with_file_and_line(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_text(log.read_text() + "\n{")
    assert main([str(log)]) == 2
    assert f"{log}, line 241: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--estimators", "rls,oracle"], ["--slowdown", "0"], []])
def test_a_wrong_option_ends_it_with_usage(arguments: list[str], log: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, str(log)] if arguments else [])


def test_the_picture_of_the_same_log_is_the_same_to_the_byte(log: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    assert plot([str(log), "--output", str(first)]) == plot([str(log), "--output", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 300_000


def test_no_picture_is_drawn_of_a_log_in_which_no_step_counts(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text("\n".join(log.read_text().splitlines()[:10]))
    assert plot([str(log), "--output", str(tmp_path / "none.svg")]) == 2
    assert "engine has no more than 10 steps" in capsys.readouterr().err
