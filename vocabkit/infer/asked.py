"""A model that is asked in text: how probable it finds answers, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence

from vocabkit.infer.continuations import Continuations
from vocabkit.infer.engine import Engine
from vocabkit.infer.prompts import Prompts
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler
from vocabkit.model.chat import gap


class Asked:
    """An engine behind texts.

    as_chat: put every question into the model's chat template.  batch_size: texts that are written at once.
    """

    def __init__(self, engine: Engine, prompts: Prompts, *, as_chat: bool = False, batch_size: int = 8) -> None:
        self._engine, self._prompts, self._as_chat, self._batch_size = engine, prompts, as_chat, batch_size
        self._continuations = Continuations(engine)

    def fits(self, question: str, answers: Sequence[str], room: int = 0) -> bool:
        """Return whether the context holds the question with each answer and `room` further tokens."""
        _, texts = self._spelled(question, answers)
        return max(map(len, texts)) + room <= self._engine.max_length

    def bits(self, question: str, answers: Sequence[str]) -> list[float]:
        """Return -log2 p(answer | question) of each answer as a string, whatever tokens spell it.

        A space comes before the answer, unless the question ends with a break or a wide mark.
        Raises VocabkitError when the context does not hold the question.
        """
        return self._continuations.bits(*self._spelled(question, answers))

    def answers(self, questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return what the model writes after each question, the likeliest token each time."""
        scheduler = Scheduler(self._engine, max_batch=self._batch_size)
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        found = [""] * len(questions)
        writings = {}
        for number, question in enumerate(questions):
            ids = self._prompts.spelled(self._prompts.opened(question, self._as_chat), self._as_chat)
            writings[scheduler.submit(ids, sampling, number=number)] = number
        for event in scheduler.run():
            found[writings[event.writing]] += event.text
        return found

    def _spelled(self, question: str, answers: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        opened = self._prompts.opened(question, self._as_chat)
        texts = [opened + gap(opened) + answer for answer in answers]
        return (
            self._prompts.spelled(opened, self._as_chat),
            [self._prompts.spelled(text, self._as_chat) for text in texts],
        )
