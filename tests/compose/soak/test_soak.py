"""Half an hour at half load: nothing grows, and every request is answered."""

import json
import os
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.compose.system import ROOT, ComposeSystem

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
RATE_PER_S = float(os.environ.get("SOAK_RATE", "4"))
"""About half of what two cores can serve with everything on them."""
LOOKS = 120
GROWTH, GROWTH_MIB, GROWTH_FILES = 0.1, 16.0, 8
"""From the second quarter to the last: what is more is a leak. Before that caches fill, and streams reach their caps."""
MACHINE_TOO_SLOW = 3
SAMPLES = ROOT / "runs" / "soak.jsonl"


class Sample(NamedTuple):
    """Of one container."""

    memory_mib: float
    """Without what the kernel would give back at once."""
    files: int
    """Descriptors of all its processes."""


def test_nothing_grows_and_every_request_is_answered(system: ComposeSystem) -> None:
    report = ROOT / "runs" / "soak.json"
    report.unlink(missing_ok=True)
    load = ("run", "--rate", f"{RATE_PER_S:g}", "--duration", f"{60 * MINUTES:g}", "--name", report.stem)
    taken: defaultdict[str, list[Sample]] = defaultdict(list)
    with system.started("run", "--rm", "loadgen", *load) as process:
        while process.poll() is None:
            for name, sample in samples(system).items():
                taken[name].append(sample)
            wait(process, 60 * MINUTES / LOOKS)
        assert process.returncode in (0, MACHINE_TOO_SLOW)
    restarted = {container.name for container in system.containers() if container.attrs["RestartCount"]}
    SAMPLES.write_text("".join(json.dumps({"container": name, "samples": of}) + "\n" for name, of in taken.items()))
    assert json.loads(report.read_text())["problems"] == []
    assert not restarted, "what begins anew has not grown"
    assert not {name: of for name, of in taken.items() if grows(of)}


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def grows(of: Sequence[Sample]) -> bool:
    """Whether a container's memory or files are clearly more in the last quarter than in the second."""
    quarter = len(of) // 4
    assert quarter, f"only {len(of)} samples"
    before, after = of[quarter : 2 * quarter], of[-quarter:]
    memory = [statistics.median(sample.memory_mib for sample in part) for part in (before, after)]
    files = [statistics.median(sample.files for sample in part) for part in (before, after)]
    return memory[1] > memory[0] + max(GROWTH * memory[0], GROWTH_MIB) or files[1] > files[0] + GROWTH_FILES


def samples(system: ComposeSystem) -> Mapping[str, Sample]:
    """Of each container that runs now, by name."""
    return {container.name: _sample(container) for container in system.containers() if "loadgen" not in container.name}


def _sample(container: Any) -> Sample:
    memory = container.stats(stream=False, one_shot=True)["memory_stats"]
    used = memory["usage"] - memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
    pids = [process[1] for process in container.top()["Processes"]]
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids if Path(f"/proc/{pid}/fd").exists())
    return Sample(used / (1 << 20), files)
