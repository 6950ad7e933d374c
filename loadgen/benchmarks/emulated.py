"""`python -m loadgen.benchmarks.emulated`: how exactly emulated engines that share this machine keep their GPUs' time.

Each engine is a Triton of its own, kept busy as lens keeps one: sequences prefill, decode and make room, steps are sent two
ahead. The error of a step is the difference between the time it kept the device and the time that its profile, seed and
shape demand.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from loadgen.benchmarks.processes import end, free_port
from loadgen.benchmarks.written import write_report
from services.engine.emulated import step_shape
from services.engine.emulation import StepTimes
from services.engine.profile import load_profile
from shared.step import Chunk, EngineRequest, OpenEpoch, Sampling, StepPlan, StepResult
from shared.steptime import StepShape
from shared.tensors import OUTPUTS, decode_result, encode_request

MODEL = "emulated"
FLEET = ("h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b", "h100-qwq-32b")
STEPS_AHEAD = 2
PROMPT_TOKENS = 512
OUTPUT_TOKENS = 128
TYPICAL_CONTEXT_TOKENS = PROMPT_TOKENS + OUTPUT_TOKENS // 2
READY_WITHIN_S = 60.0
LOOK_AGAIN_S = 0.1


class Engine(NamedTuple):
    """An engine process to drive."""

    profile: str
    seed: int
    port: int


class Session:
    """One stream to an engine: requests out, answers back in their order."""

    def __init__(self, client: triton_aio.InferenceServerClient) -> None:
        self._requests: asyncio.Queue[EngineRequest] = asyncio.Queue()
        self._answers: Any = client.stream_infer(self._encoded())

    def send(self, request: EngineRequest) -> None:
        """Put a request on its way."""
        self._requests.put_nowait(request)

    async def receive(self) -> StepResult:
        """The next answer, which must be no refusal."""
        answer, error = await anext(self._answers)
        if error is not None:
            raise error
        result = decode_result({spec.name: answer.as_numpy(spec.name) for spec in OUTPUTS})
        assert result.refusal is None, result.refusal
        return result

    async def _encoded(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            inputs = []
            for name, array in encode_request(await self._requests.get()).items():
                tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype.type))
                tensor.set_data_from_numpy(array)
                inputs.append(tensor)
            yield {"model_name": MODEL, "inputs": inputs}


class Slots:
    """Sequences that never end for good: each prefills, decodes its tokens, and is followed by another."""

    def __init__(self, count: int) -> None:
        spread = OUTPUT_TOKENS / count
        self._positions = dict.fromkeys(range(count), 0)
        self._ends = {slot: PROMPT_TOKENS + OUTPUT_TOKENS - round(slot * spread) for slot in range(count)}
        """The first ones end at different times, so that prefills are spread."""

    def next_step(self) -> tuple[tuple[Chunk, ...], tuple[int, ...]]:
        """Chunks, and the slots to release before them."""
        released = tuple(slot for slot, position in self._positions.items() if position >= self._ends[slot])
        for slot in released:
            self._positions[slot], self._ends[slot] = 0, PROMPT_TOKENS + OUTPUT_TOKENS
        chunks = tuple(self._chunk(slot, position) for slot, position in self._positions.items())
        for chunk in chunks:
            self._positions[chunk.slot] += chunk.num_tokens
        return chunks, released

    @staticmethod
    def _chunk(slot: int, position: int) -> Chunk:
        if position:
            return Chunk(slot, position, 1, None, sample=True)
        return Chunk(slot, 0, PROMPT_TOKENS, (slot,) * PROMPT_TOKENS, sample=True, sampling=Sampling(seed=slot))


class Driven(NamedTuple):
    """What became of one engine's steps."""

    errors_ms: list[float]
    tokens: int


async def drive(engine: Engine, tokens_per_s: float, duration_s: float) -> Driven:
    """Keep the engine busy with as many sequences as give so many tokens a second."""
    times = StepTimes(load_profile(engine.profile), engine.seed)
    slots = Slots(_sequences(times, tokens_per_s))
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{engine.port}") as client:
        session = Session(client)
        session.send(OpenEpoch())
        opened = await session.receive()
        sent: deque[tuple[Chunk, ...]] = deque()
        errors_ms, tokens, step = [], 0, 0
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            while len(sent) < STEPS_AHEAD:
                chunks, released = slots.next_step()
                step += 1
                session.send(StepPlan(opened.boot_id, opened.epoch, step, chunks, released))
                sent.append(chunks)
            result = await session.receive()
            wanted_s = times.next_s(step_shape(sent.popleft()))
            errors_ms.append(abs(result.duration_s - wanted_s) * 1e3)
            tokens += len(result.sampled_ids)
    return Driven(errors_ms, tokens)


def _sequences(times: StepTimes, tokens_per_s: float) -> int:
    """The fewest whose decodes alone come to so many tokens a second, or as many as the engine holds."""

    def decoded_per_s(count: int) -> float:
        return count / times.expected_s(StepShape(count, count, count * TYPICAL_CONTEXT_TOKENS))

    counts = range(1, times.profile.max_slots + 1)
    return next((count for count in counts if decoded_per_s(count) >= tokens_per_s), counts[-1])


async def measure(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """All figures of the report."""
    engines = [Engine(FLEET[number % len(FLEET)], number, free_port()) for number in range(options.engines)]
    with contextlib.ExitStack() as processes:
        for engine in engines:
            processes.enter_context(_process(engine, directory / f"{engine.seed}.log"))
        await _ready(engines)
        share = options.tokens_per_s / len(engines)
        began_s, busy_s = time.monotonic(), _busy_s()
        driven = await asyncio.gather(*(drive(engine, share, options.duration) for engine in engines))
        elapsed_s = time.monotonic() - began_s
        busy_s = _busy_s() - busy_s
    errors_ms = [error_ms for each in driven for error_ms in each.errors_ms]
    cuts = statistics.quantiles(errors_ms, n=100)
    return {
        "engines": len(engines),
        "cores": len(os.sched_getaffinity(0)),
        "cores_busy": round(busy_s / elapsed_s, 2),
        "tokens_per_s": round(sum(each.tokens for each in driven) / elapsed_s),
        "steps_per_s": round(len(errors_ms) / elapsed_s),
        "step_error_p50_ms": round(cuts[49], 3),
        "step_error_p99_ms": round(cuts[98], 3),
        "step_error_max_ms": round(max(errors_ms), 3),
        "by_engine": [
            {
                "profile": engine.profile,
                "steps": len(each.errors_ms),
                "step_error_p50_ms": round(statistics.median(each.errors_ms), 3),
                "step_error_p99_ms": round(statistics.quantiles(each.errors_ms, n=100)[98], 3),
            }
            for engine, each in zip(engines, driven, strict=True)
        ],
        "duration_s": round(elapsed_s, 1),
    }


def _busy_s() -> float:
    """Processor time that this machine has spent, on whatever; tells whether something else ran beside."""
    user, nice, system, _idle, _waiting, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _process(engine: Engine, log: Path) -> Iterator[None]:
    keys = {
        "ENGINE_EXECUTOR": MODEL,
        "ENGINE_PROFILE": engine.profile,
        "ENGINE_SEED": str(engine.seed),
        "ENGINE_GRPC_PORT": str(engine.port),
        "ENGINE_TIME_SCALE": "1",
    }
    with log.open("wb") as output:
        command = [sys.executable, "-m", "services.engine"]
        process = subprocess.Popen(command, env=os.environ | keys, stdout=output, stderr=output)  # noqa: S603 - fixed
    try:
        yield
    finally:
        end(process)


async def _ready(engines: Sequence[Engine]) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        for engine in engines:
            async with triton_aio.InferenceServerClient(f"127.0.0.1:{engine.port}") as client:
                while not await _has_model(client):
                    await asyncio.sleep(LOOK_AGAIN_S)


async def _has_model(client: triton_aio.InferenceServerClient) -> bool:
    with contextlib.suppress(InferenceServerException):
        return bool(await client.is_model_ready(MODEL))
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.emulated", description=__doc__)
    parser.add_argument("--engines", type=int, default=8)
    parser.add_argument("--tokens-per-s", type=float, default=3000.0, help="of all engines together (%(default)s)")
    parser.add_argument("--duration", type=float, default=20.0, help="s (%(default)s)")
    parser.add_argument("--report", type=Path, default=Path("runs/bench-emulated.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(measure(options, Path(directory)))
    write_report(report, options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
