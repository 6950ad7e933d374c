"""A few made-up requests before lens serves: the engine touches its memory, and the step model sees its first steps."""

import asyncio
import random
import time

import structlog

from services.lens.loop import StepLoop
from services.lens.sequence import Sequence
from shared.errors import ApiError
from shared.slo import Slo
from shared.step import EngineInfo, Sampling

log = structlog.get_logger()

PROMPT_TOKENS = (8, 16, 32, 64, 96, 24, 48, 12)
OUTPUT_TOKENS = 6
DEADLINE_S = 60.0
RETRY_S = 1.0


async def warm_up(loop: StepLoop) -> None:
    """Run prompts of several lengths, first one by one, then all at once; again, if the engine is lost meanwhile.

    Afterwards an engine is held to what is foreseen of it.
    """
    while True:
        await loop.serving.wait()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await _run_prompts(loop)
                loop.is_warm = True
                return
        except (ApiError, TimeoutError) as error:
            log.warning("warm-up failed, trying again", problem=str(error) or f"not done within {DEADLINE_S} s")
            await asyncio.sleep(RETRY_S)


async def _run_prompts(loop: StepLoop) -> None:
    assert loop.scheduler is not None, "a serving engine has a scheduler"
    info = loop.scheduler.info
    draw = random.Random(0)  # noqa: S311 - made-up tokens, not secrets
    for prompt_tokens in PROMPT_TOKENS[:3]:
        await _run(loop, _made_up(info, prompt_tokens, draw))
    await asyncio.gather(*(_run(loop, _made_up(info, prompt_tokens, draw)) for prompt_tokens in PROMPT_TOKENS))


async def _run(loop: StepLoop, sequence: Sequence) -> None:
    with loop.generate(sequence) as generation:
        async for _ in generation:
            pass


def _made_up(info: EngineInfo, prompt_tokens: int, draw: random.Random) -> Sequence:
    prompt_tokens = min(prompt_tokens, info.max_context_tokens - OUTPUT_TOKENS)
    return Sequence(
        request_id="warm-up",
        prompt_ids=tuple(draw.randrange(info.vocab_size) for _ in range(prompt_tokens)),
        max_output_tokens=OUTPUT_TOKENS,
        sampling=Sampling(seed=0, temperature=0.0),
        end_ids=frozenset(),
        slo=Slo(),
        arrival_s=time.monotonic(),
    )
