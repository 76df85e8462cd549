"""What may be drawn is what transformers' processors leave, and what is drawn follows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import generation

from vocabkit.errors import VocabkitError
from vocabkit.infer.load import Opening, open_engine
from vocabkit.infer.sampling import Chooser, Sampling, guided
from vocabkit.infer.speculative import Speculator

PROMPT = [3, 5, 5, 9]


def expected(logits: torch.Tensor, how: dict[str, Any]) -> torch.Tensor:
    """Transformers' processors, in the order in which its generate applies them."""
    ids, scores = torch.tensor([PROMPT]), logits[None]
    if "repetition_penalty" in how:
        scores = generation.RepetitionPenaltyLogitsProcessor(how["repetition_penalty"])(ids, scores)
    scores = generation.TemperatureLogitsWarper(how.get("temperature", 1.0))(ids, scores)
    if how.get("top_k"):
        scores = generation.TopKLogitsWarper(how["top_k"])(ids, scores)
    if how.get("top_p", 1) < 1:
        scores = generation.TopPLogitsWarper(how["top_p"])(ids, scores)
    if how.get("min_p"):
        scores = generation.MinPLogitsWarper(how["min_p"])(ids, scores)
    return scores[0].softmax(-1)


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 1.0}, {"temperature": 0.3}, {"temperature": 2.0, "top_k": 7},
        {"temperature": 1.0, "top_p": 0.8}, {"temperature": 1.0, "top_p": 0.01}, {"temperature": 1.0, "min_p": 0.2},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.3},
    ],
)  # fmt: skip
def test_distributions_are_those_of_transformers(how: dict[str, Any]) -> None:
    for seed in range(5):
        logits = 3 * torch.randn(200, generator=torch.Generator().manual_seed(seed))
        found = Chooser(Sampling(**how), PROMPT).distribution(logits)
        torch.testing.assert_close(found, expected(logits, how), atol=1e-6, rtol=1e-5)


def test_draws_follow_the_distribution_and_the_seed() -> None:
    logits = torch.tensor([1.0, 0.0, 2.0, -torch.inf, 0.5])
    sampling = Sampling(temperature=1.0, seed=1)
    chooser = Chooser(sampling, [])
    drawn = Counter(chooser.choose(logits) for _ in range(4000))
    wanted = logits.softmax(-1) * 4000
    square = sum((drawn[i] - float(wanted[i])) ** 2 / float(wanted[i]) for i in (0, 1, 2, 4))
    assert square < 16.3  # 3 degrees of freedom, p = 0.001
    assert drawn[3] == 0
    again, other = Chooser(sampling, []), Chooser(sampling, [], number=1)
    first = [again.choose(logits) for _ in range(50)]
    once_more = Chooser(sampling, [])
    assert first == [once_more.choose(logits) for _ in range(50)]
    assert first != [other.choose(logits) for _ in range(50)]


def test_penalties_of_presence_and_frequency_count_the_answer_alone() -> None:
    logits = torch.tensor([1.0, 1.2, 1.1])
    chooser = Chooser(Sampling(presence_penalty=0.15, frequency_penalty=0.1), [1])
    # 1 is likeliest until it was said: 1.2 - 0.25 < 1.1; then 1.1 - 0.25 < 1.0, and 1.0 - 0.25 < 0.95.
    assert [chooser.choose(logits) for _ in range(4)] == [1, 2, 0, 1]


def test_guidance_is_the_formula_and_one_is_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    here, there = torch.randn(50, generator=generator), torch.randn(50, generator=generator)
    here[7] = there[7] = -torch.inf
    assert torch.equal(guided(here, there, 1.0), here.log_softmax(-1))
    found = guided(here, there, 2.0)
    assert found[7] == -torch.inf
    rest = torch.arange(50) != 7
    wanted = 2 * here.log_softmax(-1)[rest] - there.log_softmax(-1)[rest]
    torch.testing.assert_close(found[rest], wanted)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"temperature": -1}, "temperature is -1"), ({"top_p": 0}, "top_p is 0"), ({"top_k": -1}, "top_k is -1"),
        ({"repetition_penalty": 0}, "must be above 0"), ({"max_new_tokens": 0}, "must be 1 or more"),
        ({"stop": ("",)}, "a stop string is empty"), ({"temperature": float("nan")}, "temperature is nan"),
        ({"min_p": 2}, "from 0 to 1"), ({"guidance": float("inf")}, "guidance is inf"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(how: dict[str, Any], message: str) -> None:
    with pytest.raises(VocabkitError, match=message):
        Sampling(**how)


def test_speculation_keeps_the_distribution_of_the_target(small: Callable[..., Path]) -> None:
    """Of the first two tokens; the draft is the target with noise in its head, so that it is right now and then."""
    target = open_engine(small("llama"), Opening(device="cpu"))
    draft = open_engine(small("llama"), Opening(device="cpu"))
    with torch.no_grad():
        head = draft.model.get_output_embeddings().weight
        head += 0.03 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    prompt, count = [10, 20, 30], 400
    sampling = {"max_new_tokens": 3, "temperature": 3.0, "top_k": 3, "ignore_eos": True}
    wanted: Counter[tuple[int, ...]] = Counter()
    once = Chooser(Sampling(**sampling), prompt).distribution(target.read(target.cache(), 0, [prompt], [0])[0])
    for token in once.nonzero()[:, 0].tolist():
        logits = target.read(target.cache(), 0, [[*prompt, token]], [0])[0]
        after = Chooser(Sampling(**sampling), prompt).distribution(logits)
        for other in after.nonzero()[:, 0].tolist():
            wanted[token, other] = float(once[token] * after[other]) * count
    speculator = Speculator(target, draft)
    drawn: Counter[tuple[int, ...]] = Counter()
    for number in range(count):
        events = list(speculator.run(prompt, Sampling(**sampling, seed=5), number=number))
        drawn[tuple(event.token or 0 for event in events[:2])] += 1
    assert 0.1 * speculator.proposed < speculator.accepted < 0.95 * speculator.proposed
    assert set(drawn) <= set(wanted)
    square = sum((drawn[pair] - number) ** 2 / number for pair, number in wanted.items())
    assert square < 26.1, (drawn, wanted)  # 8 degrees of freedom, p = 0.001
