"""How many multiple-choice questions a model answers rightly, in ways that hold across vocabularies.

A letter's or an answer's score is the log-probability of its string, summed over whatever tokens spell it, so models
of different vocabularies answer the same question.  The score of one token would not: the token after the prompt
differs from vocabulary to vocabulary.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.measure.choice_prompts import Style, chosen_letter
from vocabkit.measure.paired import Interval, difference_over_items
from vocabkit.measure.questions import Question
from vocabkit.measure.subject import Subject
from vocabkit.measure.wilson import wilson

LETTERS, TEXTS, PER_BYTE, WRITTEN = "letters", "texts", "texts/byte", "written"
# Questions that are written at once hold their prompts in memory.
WRITTEN_AT_ONCE = 64


@dataclass(frozen=True)
class Prediction:
    """What a model made of a question.

    chosen: the number of a choice, None when nothing could be read out of `text`, which the model wrote.
    bits: what each choice costs, in order.
    """

    question: Question
    chosen: int | None
    bits: tuple[float, ...] = ()
    text: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the answer is known and was chosen."""
        return self.chosen is not None and self.chosen == self.question.answer

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as plain data."""
        letters, answer = self.question.letters, self.question.answer
        return {
            "subject": self.question.subject,
            "where": self.question.where,
            "chosen": None if self.chosen is None else letters[self.chosen],
            "answer": None if answer is None else letters[answer],
            **({"bits": [round(one, 4) for one in self.bits]} if self.bits else {"text": self.text}),
        }


@dataclass(frozen=True)
class Accuracy:
    """The right answers of a model, by one way of scoring.

    questions: those whose answer is known.  low, high: the 95 % interval of `accuracy` (Wilson).
    macro: mean over subjects.  chance: what guessing gives.
    chosen: the share of each letter among all answers; a model that knows nothing often has a favourite.
    unread: written answers that name no choice; they count as wrong.
    against: `accuracy` less that of the first model, by a paired bootstrap; None for the first.
    """

    model: str
    scoring: str
    questions: int
    correct: int
    accuracy: float
    low: float
    high: float
    macro: float
    chance: float
    chosen: dict[str, float]
    unread: int
    subjects: dict[str, dict[str, int]]
    against: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def score(
    subject: Subject,
    questions: Sequence[Question],
    shots: Mapping[str, Sequence[Question]],
    style: Style,
    scoring: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, list[Prediction]], int]:
    """Return the predictions of every way of scoring, LETTERS, TEXTS and PER_BYTE, and how many lost shots.

    shots: answered questions of each subject to show first; the oldest are left out where the context is too short.
    TEXTS does not show the choices, and scores their texts; PER_BYTE divides by their UTF-8 bytes.
    """
    found: dict[str, list[Prediction]] = {name: [] for name in scoring}
    shortened = 0
    for number, question in enumerate(questions, 1):
        shown = _shown(question, shots)
        if LETTERS in scoring:
            prompt, left = _fitting(subject, question, shown, style, question.letters, lambda one: one.letters)
            shortened += left
            found[LETTERS].append(_prediction(question, subject.bits(prompt, question.letters)))
        if TEXTS in scoring or PER_BYTE in scoring:
            prompt, left = _fitting(
                subject, question, shown, style.without_choices, question.choices, lambda one: one.choices
            )
            shortened += left and LETTERS not in scoring
            bits = subject.bits(prompt, question.choices)
            if TEXTS in scoring:
                found[TEXTS].append(_prediction(question, bits))
            if PER_BYTE in scoring:
                sizes = [max(1, len(choice.encode())) for choice in question.choices]
                found[PER_BYTE].append(
                    _prediction(question, [bit / size for bit, size in zip(bits, sizes, strict=True)])
                )
        if progress:
            progress(number)
    return found, shortened


def write(
    subject: Subject,
    questions: Sequence[Question],
    shots: Mapping[str, Sequence[Question]],
    style: Style,
    max_new_tokens: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Prediction], int]:
    """Return the predictions that are read out of what the model writes, and how many lost shots."""
    prompts, shortened = [], 0
    for question in questions:
        prompt, left = _fitting(
            subject, question, _shown(question, shots), style, [""], lambda one: one.letters, max_new_tokens
        )
        prompts.append(prompt)
        shortened += left
    found: list[Prediction] = []
    for begin in range(0, len(prompts), WRITTEN_AT_ONCE):
        texts = subject.answers(prompts[begin : begin + WRITTEN_AT_ONCE], max_new_tokens)
        for question, text in zip(questions[begin : begin + WRITTEN_AT_ONCE], texts, strict=True):
            # What comes after an empty line is often a further question that the model made up.
            found.append(Prediction(question, chosen_letter(text.strip().split("\n\n")[0], question), text=text))
        if progress:
            progress(len(found))
    return found, shortened


def accuracy(model: str, scoring: str, predictions: Sequence[Prediction]) -> Accuracy:
    """Return the figures of some predictions; raises VocabkitError when no question has a known answer."""
    known = [one for one in predictions if one.question.answer is not None]
    if not known:
        raise VocabkitError("no question says its answer, so nothing can be counted; write predictions with -o alone")
    subjects: dict[str, list[bool]] = defaultdict(list)
    for one in known:
        subjects[one.question.subject].append(one.is_right)
    correct = sum(one.is_right for one in known)
    low, high = wilson(correct, len(known))
    letters = Counter(one.question.letters[one.chosen] for one in predictions if one.chosen is not None)
    return Accuracy(
        model,
        scoring,
        questions=len(known),
        correct=correct,
        accuracy=correct / len(known),
        low=low,
        high=high,
        macro=sum(sum(right) / len(right) for right in subjects.values()) / len(subjects),
        chance=sum(1 / len(one.question.choices) for one in known) / len(known),
        chosen={letter: count / len(predictions) for letter, count in sorted(letters.items())},
        unread=sum(one.chosen is None for one in predictions),
        subjects={name: {"questions": len(right), "correct": sum(right)} for name, right in sorted(subjects.items())},
    )


def compared(one: Accuracy, predictions: Sequence[Prediction], first: Sequence[Prediction]) -> Accuracy:
    """Return the figures with how they differ from the first model's on the same questions."""
    pairs = [(a, b) for a, b in zip(first, predictions, strict=True) if a.question.answer is not None]
    return replace(one, against=difference_over_items([a.is_right for a, _ in pairs], [b.is_right for _, b in pairs]))


def _shown(question: Question, shots: Mapping[str, Sequence[Question]]) -> list[Question]:
    # A question is never shown with its answer before it is asked.
    return [one for one in shots.get(question.subject, ()) if one.text != question.text]


def _fitting(
    subject: Subject,
    question: Question,
    shots: Sequence[Question],
    style: Style,
    answers: Sequence[str],
    of: Callable[[Question], Sequence[str]],
    room: int = 0,
) -> tuple[str, bool]:
    """Return the prompt with as many of the last shots as fit, and whether some were left out."""
    for left in range(len(shots) + 1):
        kept = shots[left:]
        prompt = style.prompt(question, kept, [of(one)[one.answer or 0] for one in kept])
        if subject.fits(prompt, answers, room):
            return prompt, left > 0
    raise VocabkitError(
        f"{question.where} is longer than the model's context; leave it out, or stretch the context with --rope"
    )


def _prediction(question: Question, bits: Sequence[float]) -> Prediction:
    return Prediction(question, min(range(len(bits)), key=lambda i: bits[i]), tuple(bits))
