"""The page of the floor experiment, from its rows. Pure."""

from collections.abc import Sequence

from loadgen.experiments.tables import short, table
from loadgen.simulate.rows import Row

HEAD = """# The floor: what fixed rules attain

Batching by a fixed rule, and routing by what an engine holds: the rules that serving systems come with, as policies of the
services themselves, in the fleet simulator. `make exp-floor TRACES=<folder>` runs it again and writes this page.

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {seeds} with its 95 %
interval. Poisson arrivals; lengths drawn with replacement from the Azure conversation and code traces (prompts cut at 7,000
tokens, answers at 600; targets 2 s and 50 ms). "mixed": 70 % conversation (prompts cut at 4,000; 0.8 s and 40 ms) and
30 % arXiv documents of double length (cut at 7,800; 10 s and 100 ms). Steps take what a law says, times lognormal noise
of 4 %; one in 500 stalls 50 ms. Nothing is refused, and everyone knows the true step times, so the rules alone differ.
Every run begins with empty engines; all rules of a line face the same requests, and the highest mean is bold.
"""
ENGINE = """
## One engine

H100 with QwQ-32B in fp8: 17.4 + 0.0557·S + 8.8e-5·KV ms a step, 150,000 tokens of cache, 256 sequences; 800 requests. A number is
a token budget a step, decodes first (Sarathi-Serve's rule); **r**: prompts with 90 % of their TTFT target gone go behind
everyone on time. *Prefill-first* is vLLM's rule before it had chunks, *published* the LENS of arXiv 2509.23384.
"""
FLEET = """
## Four unequal engines

H100 (5.2 + 0.214·B + 0.0241·S + 5e-5·KV ms), A100 (9.7 + 0.5·B + 0.0708·S + 8.5e-5·KV) and two times two A6000
(13.7 + 0.118·S + 1.1e-4·KV), Llama-3.1-8B; each batches by a fixed budget of 2,048. One router, which sees every engine as it
is; 1,500 requests. "slowed": the H100's steps take 1.8 times longer than its weight says. *Published* is the PRISM of arXiv
2509.23384, its unit of capacity put right.
"""


def page(engine_rows: Sequence[Row], fleet_rows: Sequence[Row]) -> str:
    """Markdown, from the rows of one engine under every planner, and of the fleet under every policy."""
    seeds = engine_rows[0].seeds
    return "".join(
        (
            HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}"),
            ENGINE,
            *table(engine_rows, [short(row.engine_policy) for row in engine_rows]),
            FLEET,
            *table(fleet_rows, [row.router_policy for row in fleet_rows]),
        )
    )
