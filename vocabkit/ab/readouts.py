"""What is measured of every trained model, line by line, so that arms can be compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vocabkit.ab.documents import BASE, TARGET, Texts
from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler
from vocabkit.measure.answers import Answer
from vocabkit.measure.code_switching import switched
from vocabkit.measure.switches import Expected
from vocabkit.model.scores import document_bits
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import start_id

# A continuation is cut at so many characters for every vocabulary: a longer one has more chances to switch.
PROMPT_CHARACTERS, ANSWER_CHARACTERS, MOST_TOKENS = 24, 40, 64
SWITCH_LINES, BATCH = 50, 16


@dataclass(frozen=True)
class Readout:
    """A figure for each line of a held-out text; smaller is better.

    title: of its column.  text: which held-out text.  most: how many of its lines, None for all.
    score: model, tokenizer, lines and context -> a figure each, None where the model cannot be measured so.
    weight: what the sum of figures is divided by the sum of.
    is_count: a figure is 0 or 1, so lines that never differ do not say how rare a difference is.
    reference: the same figures of the lines themselves, which people wrote, where they have any.
    """

    name: str
    title: str
    text: str
    score: Callable[[Any, Tokenizer, Sequence[str], int], list[float] | None]
    weight: Callable[[str], float]
    most: int | None = None
    is_count: bool = False
    reference: Callable[[Sequence[str]], list[float]] | None = None

    def lines(self, texts: Texts) -> list[str]:
        """Return the lines that are measured."""
        return texts.held[self.text][: self.most]

    def weights(self, texts: Texts) -> list[float]:
        """Return the weight of each line."""
        return [self.weight(line) for line in self.lines(texts)]


def bits(model: Any, tokenizer: Tokenizer, lines: Sequence[str], context: int) -> list[float]:
    """Return how many bits each line costs, as a document of its own."""
    return document_bits(model, tokenizer.encode(lines), start_id(tokenizer), context=context)


def _bytes(line: str) -> float:
    return len(line.encode())


BITS = (
    Readout("target", "target, bits/byte", TARGET, bits, _bytes),
    Readout("base", "base, bits/byte", BASE, bits, _bytes),
)


def switching(expected: Expected) -> Readout:
    """Return a readout of how many continuations of held-out lines hold another language than `expected`.

    The model goes on from the first half of a line, greedily; what it writes is cut at ANSWER_CHARACTERS characters.
    The share of samples with more than one language is the metric of arXiv 2401.01055.  Text about commands or brands
    holds foreign words by right, so the other halves of the lines are the measure of it.
    """

    def counted(texts: Sequence[str], prompts: Sequence[str]) -> list[float]:
        answers = [Answer(text[:ANSWER_CHARACTERS], prompt) for text, prompt in zip(texts, prompts, strict=True)]
        return [float(switched(answer, expected, filtered=True).other_letters > 0) for answer in answers]

    def score(model: Any, tokenizer: Tokenizer, lines: Sequence[str], context: int) -> list[float] | None:
        prompts = _beginnings(lines)
        try:
            written = _continued(model, tokenizer, prompts, context)
        # A model that cannot be decoded with a cache, or whose context is too short, is compared by its bits alone.
        except VocabkitError:
            return None
        return counted(written, prompts)

    def reference(lines: Sequence[str]) -> list[float]:
        prompts = _beginnings(lines)
        return counted([line[len(prompt) :] for line, prompt in zip(lines, prompts, strict=True)], prompts)

    return Readout(
        "switched", "continuations switched", TARGET, score, lambda line: 1.0, SWITCH_LINES, True, reference
    )


def _beginnings(lines: Sequence[str]) -> list[str]:
    return [line[: min(PROMPT_CHARACTERS, max(1, len(line) // 2))] for line in lines]


def _continued(model: Any, tokenizer: Tokenizer, prompts: Sequence[str], context: int) -> list[str]:
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None) or context
    engine = Engine(model, tokenizer, max_length=longest)
    scheduler = Scheduler(engine, max_batch=BATCH)
    sampling = Sampling(temperature=0.0, max_new_tokens=MOST_TOKENS)
    writings = {
        scheduler.submit([engine.start, *ids], sampling, number=number): number
        for number, ids in enumerate(tokenizer.encode(prompts))
    }
    found = [""] * len(prompts)
    for event in scheduler.run():
        found[writings[event.writing]] += event.text
    return found
