"""OpenAI response bodies: the events of a stream, and the whole answer."""

import time
from typing import Any, Literal

import msgspec

from shared.api import Usage

FinishReason = Literal["stop", "length"]
STREAM_END = b"data: [DONE]\n\n"


class Answer:
    """How one request's answer is written: as a chat or a completion, in one body or many events."""

    def __init__(self, request_id: str, model: str, *, is_chat: bool, include_usage: bool) -> None:
        self._is_chat = is_chat
        self._include_usage = include_usage
        self._kind = "chat.completion" if is_chat else "text_completion"
        self._base = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{request_id}",
            "created": int(time.time()),
            "model": model,
        }
        self._role_sent = False

    def text_event(self, text: str) -> bytes:
        """An event that adds text."""
        return self._event([self._piece(text, None)], None)

    def last_events(self, finish_reason: FinishReason, usage: Usage) -> bytes:
        """The events that end a stream: why it ended, the usage if asked for, and the end mark."""
        last = self._event([self._piece("", finish_reason)], None)
        counted = self._event([], usage) if self._include_usage else b""
        return last + counted + STREAM_END

    def body(self, text: str, finish_reason: FinishReason, usage: Usage) -> bytes:
        """The whole answer as one JSON body."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        if self._is_chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        return msgspec.json.encode({**self._base, "object": self._kind, "choices": [choice], "usage": usage})

    def _piece(self, text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        if not self._is_chat:
            return {**choice, "text": text}
        delta = {"content": text} if text or not self._role_sent else {}
        if not self._role_sent:
            delta["role"] = "assistant"
            self._role_sent = True
        return {**choice, "delta": delta}

    def _event(self, choices: list[dict[str, Any]], usage: Usage | None) -> bytes:
        kind = f"{self._kind}.chunk" if self._is_chat else self._kind
        event: dict[str, Any] = {**self._base, "object": kind, "choices": choices}
        if self._include_usage:
            event["usage"] = usage
        return b"data: " + msgspec.json.encode(event) + b"\n\n"
