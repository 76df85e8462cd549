"""A conversation that remembers, for one who talks to a model."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from vocabkit.errors import VocabkitError
from vocabkit.files import write_whole
from vocabkit.infer.engine import Engine
from vocabkit.infer.prompts import Prompts
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler

# Tokens that are kept free for an answer when old turns are left out.
ROOM = 64


class Conversation:
    """Messages so far, and the model that answers.

    What the model read of earlier turns stays in its cache, so a turn costs no more than what is new in it.
    messages: {"role", "content"}.  forgotten: messages that the last prompt left out because the context was full.
    """

    def __init__(self, engine: Engine, prompts: Prompts, sampling: Sampling, system: str | None = None) -> None:
        self._engine, self._prompts = engine, prompts
        self._scheduler = Scheduler(engine, max_batch=1)
        self.sampling, self.system = sampling, system
        self.messages: list[dict[str, str]] = []
        self.forgotten = 0
        self.read, self.wrote = 0, 0

    def reply(self, text: str) -> Generator[str, None, None]:
        """Yield the answer to a message as it grows; closing the iterator ends it, and what was said stays.

        Raises VocabkitError when the message alone fills the context; it is forgotten then.
        """
        self.messages.append({"role": "user", "content": text})
        try:
            ids = self._fitting()
            writing = self._scheduler.submit(ids, self.sampling)
        except VocabkitError:
            self.messages.pop()
            raise
        before, answer = self._scheduler.prompt_tokens_read, ""
        try:
            while not self._scheduler.is_idle:
                for event in self._scheduler.step():
                    answer += event.text
                    if event.text:
                        yield event.text
        finally:
            self._scheduler.cancel(writing)
            list(self._scheduler.run())
            self.read, self.wrote = self._scheduler.prompt_tokens_read - before, writing.new_tokens
            self.messages.append({"role": "assistant", "content": answer.strip()})

    def undo(self) -> str | None:
        """Take back the last message and its answer; return the message, None when there is none."""
        if not self.messages:
            return None
        found = self.messages[-2]["content"]
        del self.messages[-2:]
        return found

    def reset(self) -> None:
        """Begin anew; the system's message stays."""
        self.messages.clear()

    def change(self, **values: object) -> None:
        """Choose tokens otherwise from now on; raises VocabkitError for a value that cannot be."""
        self.sampling = replace(self.sampling, **values)  # type: ignore[arg-type]

    def save(self, path: Path) -> None:
        """Write the conversation as a line that `vocabkit train --stage instruct` reads."""
        write_whole(path, json.dumps({"messages": self._all(0)}, ensure_ascii=False) + "\n")

    def _all(self, first: int) -> list[dict[str, str]]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + self.messages[first:]

    def _fitting(self) -> list[int]:
        """Return the ids of the conversation, without its oldest turns where they do not fit."""
        first = 0
        while True:
            ids = self._prompts.conversation(self._all(first))
            if len(ids) + ROOM <= self._engine.max_length or first + 2 >= len(self.messages):
                self.forgotten = first
                return ids
            first += 2
