"""A model that is asked in text, as measurements see it; `vocabkit.infer.asked.Asked` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Subject(Protocol):
    """What is asked."""

    def fits(self, question: str, answers: Sequence[str], room: int = 0) -> bool:
        """Return whether the context holds the question with each answer and `room` further tokens."""
        ...

    def bits(self, question: str, answers: Sequence[str]) -> list[float]:
        """Return -log2 p(answer | question) of each answer as a string, whatever tokens spell it."""
        ...

    def answers(self, questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return what the model writes after each question, the likeliest token each time."""
        ...
