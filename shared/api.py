"""The OpenAI API as prism and lens speak it: request bodies decoded and checked once, response bodies to encode.

A field that is not supported gets a 400 that names it; its neutral value (`n: 1`, `tools: []`) is accepted, since clients
send those unasked.
"""

from typing import Any, Literal, TypeVar

import msgspec

from shared.errors import BadRequest

MOST_STOP_STRINGS = 4
LONGEST_STOP_CHARACTERS = 256
SEED_BOUND = 2**63
MOST_TOKENS = 2**31 - 1
"""No limit may be larger: it travels as a 32-bit number, and no context comes near it."""


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant", "developer"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The content, its parts joined."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream brings beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only plain text can be asked for."""

    type: str


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both endpoints take. Fields after `user` are known, and refused unless neutral."""

    model: str
    max_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    ignore_eos: bool = False
    n: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None

    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The texts that end the answer, itself without them."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that carries `usage`."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def output_limit(self) -> int | None:
        """The most tokens to generate; None: as many as the context holds."""
        return self.max_tokens


class CompletionRequest(GenerationRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/completions`."""

    prompt: str | list[int | str | list[int]]

    best_of: int | None = None
    echo: bool = False
    logprobs: int | None = None
    suffix: str | None = None

    @property
    def single_prompt(self) -> str | list[int]:
        """The one prompt: text, or token ids; a list of one prompt counts as that prompt.

        Raises:
            BadRequest: there are several, or none.
        """
        if isinstance(self.prompt, str):
            return self.prompt
        token_ids = [item for item in self.prompt if isinstance(item, int)]
        if len(token_ids) == len(self.prompt):
            return token_ids
        if len(self.prompt) == 1 and isinstance(self.prompt[0], str | list):
            return self.prompt[0]
        raise BadRequest("prompt: only one prompt a request is supported", param="prompt")

    @property
    def output_limit(self) -> int | None:
        """As OpenAI has it: 16 unless told."""
        return 16 if self.max_tokens is None else self.max_tokens


class ChatRequest(GenerationRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    max_completion_tokens: int | None = None

    audio: Any = None
    function_call: Any = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Any = None
    reasoning_effort: str | None = None
    response_format: ResponseFormat | None = None
    service_tier: str | None = None
    store: bool | None = None
    tool_choice: Any = None
    tools: list[Any] | None = None
    top_logprobs: int | None = None
    verbosity: str | None = None
    web_search_options: Any = None

    @property
    def output_limit(self) -> int | None:
        """`max_completion_tokens`, or the older `max_tokens`."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


AnyRequest = CompletionRequest | ChatRequest

NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "echo": (False,),
    "suffix": ("",),
    "functions": ([],),
    "function_call": ("none",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "response_format": (ResponseFormat("text"),),
    "service_tier": ("auto", "default"),
    "store": (False,),
}
UNSUPPORTED_UNLESS_NEUTRAL = (
    *NEUTRAL_VALUES,
    "logprobs",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
)


def decode_completion(body: bytes) -> CompletionRequest:
    """The request that the body says, checked as far as that goes without a tokenizer.

    Raises:
        BadRequest: not JSON, a wrong type, a value out of range, or a field that is not supported; names the field.
    """
    request = _decode(body, CompletionRequest)
    if not request.single_prompt:
        raise BadRequest("prompt must not be empty", param="prompt")
    return request


def decode_chat(body: bytes) -> ChatRequest:
    """As `decode_completion`, for a chat."""
    request = _decode(body, ChatRequest)
    if not request.messages:
        raise BadRequest("messages must have at least one message", param="messages")
    if not any(message.text for message in request.messages):
        raise BadRequest("messages must have one that is not empty", param="messages")
    if request.max_completion_tokens is not None and request.max_tokens not in (None, request.max_completion_tokens):
        raise BadRequest("max_tokens must equal max_completion_tokens where both are given", param="max_tokens")
    _check_between("max_completion_tokens", request.max_completion_tokens, 1)
    return request


RequestType = TypeVar("RequestType", CompletionRequest, ChatRequest)


def _decode(body: bytes, kind: type[RequestType]) -> RequestType:
    try:
        request = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error), param=_field_named_in(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    _check_supported(request)
    _check_limits(request)
    return request


def _field_named_in(problem: str) -> str | None:
    """The field that msgspec's message is about: it quotes a missing or unknown one, else ends in a path."""
    path = problem.rpartition("`$.")[2].rstrip("`") if "`$." in problem else ""
    if "field `" in problem:
        name = problem.split("field `", 1)[1].split("`", 1)[0]
        return f"{path}.{name}" if path else name
    return path or None


def _check_supported(request: AnyRequest) -> None:
    for field in UNSUPPORTED_UNLESS_NEUTRAL:
        value = getattr(request, field, None)
        if value is not None and value is not False and value not in NEUTRAL_VALUES.get(field, ()):
            raise BadRequest(
                f"{field} is not supported by this server, or not with this value",
                param=field,
                code="unsupported_parameter",
            )


def _check_limits(request: AnyRequest) -> None:
    _check_between("max_tokens", request.max_tokens, 1)
    _check_between("top_k", request.top_k, -1)
    if request.temperature is not None and not 0 <= request.temperature <= 2:
        raise BadRequest("temperature must be between 0 and 2", param="temperature")
    if request.top_p is not None and not 0 < request.top_p <= 1:
        raise BadRequest("top_p must be above 0 and at most 1", param="top_p")
    if request.seed is not None and not -SEED_BOUND <= request.seed < SEED_BOUND:
        raise BadRequest("seed must fit in 64 bits", param="seed")
    if request.stream_options is not None and not request.stream:
        raise BadRequest("stream_options is allowed only where stream is true", param="stream_options")
    stops = request.stop_strings
    if len(stops) > MOST_STOP_STRINGS or not all(0 < len(stop) <= LONGEST_STOP_CHARACTERS for stop in stops):
        wanted = f"at most {MOST_STOP_STRINGS} texts of 1 to {LONGEST_STOP_CHARACTERS} characters"
        raise BadRequest(f"stop must be {wanted}", param="stop")


def _check_between(field: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= MOST_TOKENS:
        raise BadRequest(f"{field} must be between {least} and {MOST_TOKENS}", param=field)


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, those that were in the engine's cache already."""

    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Tokens, counted by the engine's tokenizer: prompt with its template, and output up to where it ended."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class ModelCard(msgspec.Struct, frozen=True):
    """One entry of `GET /v1/models`."""

    id: str
    max_model_len: int
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "synergysched"


class ModelList(msgspec.Struct, frozen=True):
    """`GET /v1/models`."""

    data: tuple[ModelCard, ...]
    object: Literal["list"] = "list"
