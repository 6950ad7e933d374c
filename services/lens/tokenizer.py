"""The model's tokenizer and chat template, from its GGUF file or its Hugging Face folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from shared.api import ChatMessage
from shared.errors import BadRequest

_CONTROL_TOKEN, _USER_DEFINED_TOKEN = 3, 4
_GGUF = "tokenizer.ggml"


class UnusableTokenizer(Exception):
    """The model file has no tokenizer that can be used here; says what is missing."""


class TextModel(NamedTuple):
    """How text becomes tokens, and which tokens end an answer."""

    tokenizer: Tokenizer
    end_ids: frozenset[int]
    chat_template: jinja2.Template
    special_tokens: dict[str, str]

    longest_token_bytes: int

    def least_tokens(self, text: str) -> int:
        """No fewer tokens than this can spell the text; known without tokenising, which is slow for a huge one."""
        return -(-len(text.encode()) // self.longest_token_bytes)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> tuple[int, ...]:
        """The tokens of a text, special tokens written in it included. Other threads run meanwhile."""
        # encode() itself keeps the interpreter's lock for as long as it takes
        [encoding] = self.tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return tuple(encoding.ids)

    def render_chat(self, messages: Sequence[ChatMessage]) -> str:
        """A chat in the model's template, up to where the assistant speaks; it has its special tokens.

        Raises:
            BadRequest: the template does not take these messages.
        """
        turns = [{"role": message.role, "content": message.text} for message in messages]
        try:
            return self.chat_template.render(messages=turns, add_generation_prompt=True, **self.special_tokens)
        except jinja2.TemplateError as error:
            raise BadRequest(f"messages do not fit the model's chat template: {error}", param="messages") from error


def text_model(
    tokenizer: Tokenizer, end_ids: frozenset[int], chat_template: jinja2.Template, special_tokens: dict[str, str]
) -> TextModel:
    """A text model of these parts."""
    longest_token_bytes = max(len(token.encode()) for token in tokenizer.get_vocab())
    return TextModel(tokenizer, end_ids, chat_template, special_tokens, longest_token_bytes)


def load_text_model(path: Path) -> TextModel:
    """The tokenizer of a `.gguf` file, or of a folder with `tokenizer.json` and `tokenizer_config.json`.

    Raises:
        UnusableTokenizer: there is none, or it is of a kind that is not known here.
    """
    return _from_gguf(path) if path.suffix == ".gguf" else _from_folder(path)


def _from_gguf(path: Path) -> TextModel:
    fields = GGUFReader(path).fields
    metadata = {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}
    kind = (metadata.get(f"{_GGUF}.model"), metadata.get(f"{_GGUF}.pre"))
    if kind != ("gpt2", "smollm"):
        raise UnusableTokenizer(f"{path.name}: a tokenizer of kind {kind} needs its tokenizer.json")
    tokens: list[str] = metadata[f"{_GGUF}.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata[f"{_GGUF}.merges"]]
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = (_CONTROL_TOKEN, _USER_DEFINED_TOKEN)
    kinds: list[int] = metadata[f"{_GGUF}.token_type"]
    names = [token for token, token_kind in zip(tokens, kinds, strict=True) if token_kind in special]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    end_ids = [metadata[key] for end in ("eos", "eot") if (key := f"{_GGUF}.{end}_token_id") in metadata]
    special_tokens = {
        f"{name}_token": tokens[metadata[key]]
        for name in ("bos", "eos")
        if (key := f"{_GGUF}.{name}_token_id") in metadata
    }
    template = _compile(metadata.get("tokenizer.chat_template"), path)
    return text_model(tokenizer, frozenset(end_ids), template, special_tokens)


def _from_folder(path: Path) -> TextModel:
    try:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        config: dict[str, Any] = json.loads((path / "tokenizer_config.json").read_text())
    except Exception as error:  # tokenizers raises bare Exception
        raise UnusableTokenizer(f"{path}: {error}") from error
    special_tokens = {name: _content(config[name]) for name in ("bos_token", "eos_token") if config.get(name)}
    end_id = tokenizer.token_to_id(special_tokens.get("eos_token", ""))
    if end_id is None:
        raise UnusableTokenizer(f"{path / 'tokenizer_config.json'}: no eos_token")
    return text_model(tokenizer, frozenset((end_id,)), _compile(config.get("chat_template"), path), special_tokens)


def _content(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _compile(template: str | None, path: Path) -> jinja2.Template:
    if not template:
        raise UnusableTokenizer(f"{path}: no chat template")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)
