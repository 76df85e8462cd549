"""Events of the model as OpenAI's objects, whole or in pieces."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.infer.serve.counters import Counters
from vocabkit.infer.serve.gate import problem
from vocabkit.infer.serve.merged import merged
from vocabkit.infer.serve.worker import Answer
from vocabkit.infer.writing import Event
from vocabkit.tokenizer.base import Tokenizer

DONE = b"data: [DONE]\n\n"


@dataclass
class Reply:
    """One request for text and all its answers.

    is_chat: which of the two protocols.  echoes: what stands before each answer's text.
    logprobs: how many of the likeliest tokens to show; None for none.
    """

    is_chat: bool
    model: str
    answers: Sequence[Answer]
    prompt_tokens: int
    tokenizer: Tokenizer
    counters: Counters
    echoes: Sequence[str] = ()
    logprobs: int | None = None
    wants_usage: bool = False
    began: float = field(default_factory=time.perf_counter)
    new_tokens: int = 0

    def __post_init__(self) -> None:
        self._id = f"{'chatcmpl' if self.is_chat else 'cmpl'}-{uuid.uuid4().hex[:24]}"
        self._created = int(time.time())

    async def whole(self) -> dict[str, Any]:
        """Return the finished object; raises VocabkitError when the model failed."""
        choices = []
        for index, answer in enumerate(self.answers):
            text, finish, said = self._echo(index), None, []
            async for event in answer.events():
                self._count(event)
                text += event.text
                finish = event.finish or finish
                if event.log_prob:
                    said.append(event)
            choice: dict[str, Any] = {"index": index, "finish_reason": finish}
            choice |= {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
            choices.append({**choice, "logprobs": self._logprobs(said)})
        return {**self._head(is_piece=False), "choices": choices, "usage": self._usage()}

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield server-sent events; a failure of the model is the last of them."""
        if self.is_chat:
            for index in range(len(self.answers)):
                yield self._piece(index, {"role": "assistant", "content": ""}, None, [])
        for index in range(len(self.answers)):
            if self._echo(index):
                yield self._piece(index, self._echo(index), None, [])
        try:
            async for index, event in merged([answer.events() for answer in self.answers]):
                self._count(event)
                if event.text or event.log_prob:
                    content: Any = {"content": event.text} if self.is_chat else event.text
                    yield self._piece(index, content, None, [event] if event.log_prob else [])
                if event.finish:
                    yield self._piece(index, {} if self.is_chat else "", event.finish, [])
        except VocabkitError as error:
            yield _sent(problem(str(error), 500))
            return
        if self.wants_usage:
            yield _sent({**self._head(is_piece=True), "choices": [], "usage": self._usage()})
        yield DONE

    def close(self) -> None:
        """Give up what is not finished."""
        for answer in self.answers:
            answer.close()

    def _echo(self, index: int) -> str:
        return self.echoes[index] if self.echoes else ""

    def _count(self, event: Event) -> None:
        seconds = time.perf_counter() - self.began
        if not self.new_tokens:
            self.counters.first_token.observe(seconds)
        if event.token is not None:
            self.new_tokens += 1
            self.counters.new_tokens.inc()
        if event.finish:
            self.counters.whole.observe(seconds)

    def _head(self, *, is_piece: bool) -> dict[str, Any]:
        kind = ("chat.completion" + (".chunk" if is_piece else "")) if self.is_chat else "text_completion"
        return {"id": self._id, "object": kind, "created": self._created, "model": self.model}

    def _usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.new_tokens
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.new_tokens, "total_tokens": total,
        }  # fmt: skip

    def _piece(self, index: int, content: Any, finish: str | None, said: Sequence[Event]) -> bytes:
        choice = {"index": index, "finish_reason": finish, "logprobs": self._logprobs(said)}
        choice |= {"delta": content} if self.is_chat else {"text": content}
        return _sent({**self._head(is_piece=True), "choices": [choice]})

    def _logprobs(self, said: Sequence[Event]) -> dict[str, Any] | None:
        if self.logprobs is None or not said:
            return None
        if self.is_chat:
            return {"content": [self._told(one) for one in said], "refusal": None}
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = 0
        for one in said:
            assert one.token is not None
            assert one.log_prob is not None
            found["tokens"].append(self._spelt(one.token))
            found["token_logprobs"].append(one.log_prob.chosen)
            found["top_logprobs"].append({self._spelt(i): value for i, value in one.log_prob.likeliest})
            found["text_offset"].append(at)
            at += len(one.text)
        return found

    def _told(self, event: Event) -> dict[str, Any]:
        assert event.token is not None
        assert event.log_prob is not None

        def one(token: int, value: float) -> dict[str, Any]:
            data = self.tokenizer.token_bytes(token) or b""
            return {"token": self._spelt(token), "logprob": value, "bytes": list(data)}

        best = [one(token, value) for token, value in event.log_prob.likeliest]
        return {**one(event.token, event.log_prob.chosen), "top_logprobs": best}

    def _spelt(self, token: int) -> str:
        return (self.tokenizer.token_bytes(token) or b"").decode("utf-8", "replace")


def _sent(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
