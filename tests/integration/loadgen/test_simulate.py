"""The simulator's command and experiments, as they are called."""

from pathlib import Path

import msgspec
import pytest

from loadgen.__main__ import main
from loadgen.experiments import ablation, floor, heterogeneous, lens, long_context, mixed, prism
from loadgen.experiments.comparison import Extent, Load
from loadgen.experiments.prism_loads import SMOKED
from loadgen.simulate.rows import Row

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{number // 10:02}.{number % 10}00000,{200 + 37 * number},{5 + number % 40}\n"
    for number in range(60)
)
LENGTHS = "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3000,54,3054,55\n2000,80,2080,25\n"


def rows_of(path: Path) -> list[Row]:
    return [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]


def test_planners_and_policies_are_compared_on_one_load(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conv.csv").write_text(AZURE)
    fleet = ["--engine", "h100-llama3.1-8b", "--engine", "2xa6000-llama3.1-8b:2", "--die", "2xa6000-llama3.1-8b-2@3"]
    load = ["--trace", "conv.csv", "--rate", "8", "--requests", "40", "--class", "chat:ttft_ms=2000,tpot_ms=100"]
    compared = ["--planner", "synergy", "--planner", "static-512", "--policy", "synergy", "--policy", "round-robin"]
    arguments = ["simulate", *fleet, *load, "--replicas", "2", "--repeats", "2", "--name", "mine"]
    assert main([*arguments, *compared]) == 0
    rows = rows_of(Path("runs/mine.jsonl"))
    assert [(row.engine_policy, row.router_policy) for row in rows] == [
        ("synergy", "synergy"),
        ("synergy", "round-robin"),
        ("static-512", "synergy"),
        ("static-512", "round-robin"),
    ]
    assert all(row.seeds == (0, 1) and 0 < row.attainment <= 1 for row in rows)
    assert "static-512" in capsys.readouterr().out
    assert main([*arguments, "--append"]) == 0
    assert rows_of(Path("runs/mine.jsonl"))[4] == rows[0]


def test_an_engine_that_there_is_not_is_told(capsys):
    assert main(["simulate", "--die", "nobody@3"]) == 2
    assert "no engine 'nobody'" in capsys.readouterr().out


def test_the_floor_is_smoked(tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE)
    (tmp_path / "AzureLLMInferenceTrace_code.csv").write_text(AZURE)
    (tmp_path / "arxiv_summarization_lengths.csv").write_text(LENGTHS)
    assert floor.main([str(tmp_path), "--smoke", "--rows", str(tmp_path / "rows.jsonl")]) == 0
    rows = rows_of(tmp_path / "rows.jsonl")
    assert {row.engine_policy for row in rows} == set(floor.PLANNERS)
    assert {row.router_policy for row in rows} == set(floor.POLICIES)
    assert floor.main([str(tmp_path / "elsewhere"), "--smoke"]) == 2


def test_what_lens_attains_is_smoked(tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE)
    (tmp_path / "AzureLLMInferenceTrace_code.csv").write_text(AZURE)
    (tmp_path / "arxiv_summarization_lengths.csv").write_text(LENGTHS)
    arguments = [str(tmp_path), "--smoke", "--rows", str(tmp_path / "rows.jsonl")]
    assert lens.main(arguments) == 0
    rows = rows_of(tmp_path / "rows.jsonl")
    assert {row.engine_policy for row in rows} == set(lens.PLANNERS)
    assert {(row.workload, row.rate) for row in rows} == {line.key for line in lens.lines(smoke=True)}
    assert lens.main([*arguments, "--resume"]) == 0
    assert rows_of(tmp_path / "rows.jsonl") == rows


def test_what_prism_attains_is_smoked(tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE)
    (tmp_path / "AzureLLMInferenceTrace_code.csv").write_text(AZURE)
    (tmp_path / "arxiv_summarization_lengths.csv").write_text(LENGTHS)
    arguments = [str(tmp_path), "--smoke", "--seconds", "1", "--rows", str(tmp_path / "rows.jsonl")]
    assert prism.main(arguments) == 0
    rows, regrets = (tmp_path / name for name in ("rows.jsonl", "rows-regret.jsonl"))
    assert {(row.workload, row.rate) for row in rows_of(rows)} == {line.key for line in SMOKED}
    assert {row.router_policy for row in rows_of(rows)} == set(prism.policies(SMOKED[0]))
    found = rows.read_bytes(), regrets.read_bytes()
    assert prism.main([*arguments, "--resume"]) == 0
    assert (rows.read_bytes(), regrets.read_bytes()) == found
    assert prism.main([str(tmp_path / "elsewhere"), "--smoke"]) == 2


@pytest.mark.parametrize("experiment", [ablation, heterogeneous, long_context, mixed], ids=lambda each: each.__name__)
def test_what_compares_systems_is_smoked(experiment, tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE)
    (tmp_path / "AzureLLMInferenceTrace_code.csv").write_text(AZURE)
    (tmp_path / "arxiv_summarization_lengths.csv").write_text(LENGTHS)
    rows, page = tmp_path / "rows.jsonl", tmp_path / "page.md"
    arguments = [str(tmp_path), "--smoke", "--seconds", "1", "--rows", str(rows), "--page", str(page)]
    assert experiment.main(arguments) == 0
    planned = experiment.cells(Load(tmp_path, 1.0), Extent.SMOKE)
    assert len(rows_of(rows)) == len(planned)
    text, figure = page.read_text(), (tmp_path / f"{experiment.EXPERIMENT.name}.svg").read_text()
    assert "**Simulated**" in text
    assert f"({experiment.EXPERIMENT.name}.svg)" in text
    assert figure.startswith("<svg")
    found = rows.read_bytes()
    assert experiment.main([*arguments, "--resume"]) == 0
    assert (rows.read_bytes(), page.read_text()) == (found, text)
    assert experiment.main([str(tmp_path / "elsewhere"), "--smoke", "--rows", str(rows)]) == 2
