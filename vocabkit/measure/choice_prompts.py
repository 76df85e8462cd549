"""How a multiple-choice question is put to a model, and how its written answer is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vocabkit.errors import VocabkitError
from vocabkit.measure.questions import Question
from vocabkit.model.chat import gap

ENGLISH, CHINESE = "Answer:", "答案："
HAN = re.compile(r"[\u3400-\u9fff]")
LATIN = re.compile(r"[A-Za-z]")
# What people write before the letter they chose, in English and Chinese.
BEFORE = re.compile(
    r"(?:answer\s*(?:is|:|：)|option|choose|select|答案\s*(?:应该|應該)?\s*(?:是|为|為|选|選|:|：)|选择|選擇|选|選)"
    r"[\s:：*(（\"“]*([A-J])(?![A-Za-z])",
    re.IGNORECASE,
)
# "A dog" begins with an article, "I think" with a pronoun.
LETTER = r"((?![AI] +(?!(?:and|or)\b)[a-z])[A-J])(?![A-Za-z'’])"
FIRST = re.compile(r"[\s*(（\"“]*" + LETTER)
ALONE = re.compile(r"(?<![A-Za-z])" + LETTER)


@dataclass(frozen=True)
class Style:
    """How questions are asked.

    headline: said once before everything; {subject} is the subject's name.
    body: a question, with {question}, {choices} ("A. ..." on a line each) and {subject}; the answer follows.
    """

    headline: str = ""
    body: str = "{question}\n{choices}\n" + ENGLISH

    def __post_init__(self) -> None:
        if "{question}" not in self.body:
            raise VocabkitError("the prompt has no {question}; write where the question goes")

    @property
    def without_choices(self) -> Style:
        """The same, but the choices are not shown: their texts are what is scored."""
        return Style(self.headline, re.sub(r"\{choices\}\n?", "", self.body))

    def prompt(self, question: Question, shots: Sequence[Question], answers: Sequence[str]) -> str:
        """Return a question after some that are answered.  answers: what stands after each of `shots`."""
        parts = [self.headline.replace("{subject}", _name(question)) + "\n\n"] if self.headline else []
        for shot, answer in zip(shots, answers, strict=True):
            asked = self._asked(shot)
            parts.append(f"{asked}{gap(asked)}{answer}\n\n")
        return "".join(parts) + self._asked(question)

    def _asked(self, question: Question) -> str:
        choices = zip(question.letters, question.choices, strict=True)
        shown = "\n".join(f"{letter}. {choice}" for letter, choice in choices)
        values = {"question": question.text, "choices": shown, "subject": _name(question)}
        # In one pass, for a question may itself hold braces.
        return re.sub(r"\{(question|choices|subject)\}", lambda match: values[match[1]], self.body)


def style_for(questions: Sequence[Question]) -> Style:
    """Return the default style: Chinese where the questions hold more Han characters than Latin letters."""
    text = "".join(question.text for question in questions)
    word = CHINESE if len(HAN.findall(text)) > len(LATIN.findall(text)) else ENGLISH
    return Style(body="{question}\n{choices}\n" + word)


def chosen_letter(text: str, question: Question) -> int | None:
    """Return the number of the choice that a written answer names, None when it names none or several.

    In this order: a letter after words such as "the answer is", the last one said; a letter right at the beginning;
    one letter that stands alone; the text of exactly one choice.
    """

    def number(letter: str) -> int | None:
        place = question.letters.find(letter.upper())
        return place if place >= 0 else None

    said = [one for one in map(number, BEFORE.findall(text)) if one is not None]
    if said:
        return said[-1]
    first = FIRST.match(text)
    if first and number(first[1]) is not None:
        return number(first[1])
    alone = {one for one in map(number, ALONE.findall(text)) if one is not None}
    if len(alone) == 1:
        return alone.pop()
    named = [i for i, choice in enumerate(question.choices) if choice and choice.casefold() in text.casefold()]
    # "10" is in "100" too: the longest says more.
    longest = [i for i in named if not any(j != i and question.choices[i] in question.choices[j] for j in named)]
    return longest[0] if len(longest) == 1 else None


def _name(question: Question) -> str:
    return question.subject.replace("_", " ")
