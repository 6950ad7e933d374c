"""Sequences, models and engines as small as a test needs them."""

import jinja2
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from services.lens import tokenizer as tokenizer_module
from services.lens.sequence import Sequence
from services.lens.tokenizer import TextModel
from shared.slo import Slo
from shared.step import NO_SLOT, EngineInfo, Sampling
from shared.steptime import StepModel
from tests.step_models import step_model

END_ID = 99
NO_TARGETS = Slo()


def sequence(
    prompt_tokens: int = 4,
    max_output_tokens: int = 8,
    name: str = "r",
    *,
    slo: Slo = NO_TARGETS,
    arrival_s: float = 0.0,
) -> Sequence:
    return Sequence(
        request_id=name,
        prompt_ids=tuple(range(prompt_tokens)),
        max_output_tokens=max_output_tokens,
        sampling=Sampling(seed=1),
        end_ids=frozenset({END_ID}),
        slo=slo,
        arrival_s=arrival_s,
    )


def in_engine(started: Sequence, computed_tokens: int, ends_s: float = 0.0) -> Sequence:
    """The sequence with so many tokens of its prompt sent, in a step that ends then."""
    started.join(0, NO_SLOT, 0)
    started.advance(computed_tokens, ends_s)
    return started


def engine_info(
    *, slots: int = 4, blocks: int = 64, block_tokens: int = 4, max_step_tokens: int = 32, emulated: bool = True
) -> EngineInfo:
    return EngineInfo(
        executor="fake",
        model="m",
        hardware_class="cpu",
        emulated=emulated,
        vocab_size=257,
        max_slots=slots,
        max_step_tokens=max_step_tokens,
        max_context_tokens=128,
        kv_block_tokens=block_tokens,
        kv_blocks_total=blocks,
    )


def model(base_s: float = 0.01, per_token_s: float = 0.001) -> StepModel:
    """A step takes `base_s` and `per_token_s` for each of its tokens."""
    return step_model(base=base_s, per_token=per_token_s)


def byte_tokenizer() -> Tokenizer:
    """One token a byte, and a special one that ends."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    built = Tokenizer(BPE(vocab={character: i for i, character in enumerate(alphabet)}, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens(["<end>"])
    return built


def text_model() -> TextModel:
    """A byte tokenizer with a chat template that is nothing but the messages."""
    tokenizer = byte_tokenizer()
    end_id = tokenizer.token_to_id("<end>")
    assert end_id is not None
    template = jinja2.Template("{% for m in messages %}{{ m.content }}{% endfor %}")
    return tokenizer_module.text_model(tokenizer, frozenset({end_id}), template, {})
