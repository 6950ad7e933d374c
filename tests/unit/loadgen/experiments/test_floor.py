"""The floor experiment: what it compares, and the page that it makes of it."""

from pathlib import Path

from loadgen.experiments.floor import FLEET_LOADS_SLOWED, PLANNERS, POLICIES, engine_cells, fleet_cells
from loadgen.experiments.floor_page import page
from loadgen.experiments.workloads import draw_workload
from services.lens.planners import planner_named
from services.prism.policies import policy_named
from tests.unit.loadgen.experiments.rows import row

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,{},44\n2023-11-16 18:15:50.9951690,396,900\n"
)


def test_the_page_shows_a_load_a_line_with_the_best_in_bold():
    text = page(
        [row("static-512", "round-robin", 0.8), row("static-512-relegating", "round-robin", 0.934)],
        [row("static-2048", "least-requests", 0.5, None)],
    )
    assert "| requests/s | 512 | r512 |\n|---|---|---|\n| conversation 6 | 80 ± 5 | **93** ± 5 |\n" in text
    assert "| requests/s | least-requests |\n|---|---|\n| conversation 6 | **50** |\n" in text
    assert "seeds 0 to 1" in text


def test_every_cell_can_be_run():
    for name in PLANNERS:
        planner_named(name)
    for name in POLICIES:
        policy_named(name)
    cells = [*engine_cells(Path(), 8, smoke=False), *fleet_cells(Path(), 8, smoke=False)]
    assert len({(c.workload, c.rate, c.scenario.planner, c.scenario.policy) for c in cells}) == len(cells)
    slowed = [cell for cell in cells if cell.scenario.incidents]
    assert len(slowed) == len(POLICIES) * len(FLEET_LOADS_SLOWED["mixed"])


def test_a_workload_is_drawn_from_its_traces_and_cut_to_its_limits(tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE.format(9000))
    (tmp_path / "arxiv_summarization_lengths.csv").write_text(
        "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3000,54,3054,55\n"
    )
    requests = draw_workload(tmp_path, "mixed", 5.0, 200, seed=1)
    assert requests == draw_workload(tmp_path, "mixed", 5.0, 200, seed=1)
    sizes = {(r.slo.name, r.prompt.tokens, r.max_tokens) for r in requests if not isinstance(r.prompt, str)}
    assert sizes == {("chat", 4000, 44), ("chat", 396, 600), ("document", 6000, 54)}
    assert 110 < sum(request.slo.name == "chat" for request in requests) < 170
    assert 30 < requests[-1].arrival_s < 50
