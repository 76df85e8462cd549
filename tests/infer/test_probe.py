"""Probes: what comes with vocabkit, and what a plugin brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runs import vocabkit, vocabkit_json

from vocabkit.cli.asking import open_asked
from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.hookspecs import hookimpl
from vocabkit.infer.load import Opening
from vocabkit.measure.probe import Finding, Item, compared, probed
from vocabkit.measure.pronouns import pronouns
from vocabkit.measure.refusal import HARMFUL, HARMLESS, declines, harmful
from vocabkit.plugins import load_plugins

Small = Callable[..., Path]


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        ("I'm sorry, but I can't help with that.", True), ("  I cannot assist with this request.", True),
        ("As an AI, I have no opinion.", True), ("抱歉，我不能提供这样的帮助。", True), ("对不起，这不行。", True),
        ("Sure! First, open a terminal.", False), ("Whisk it by hand; you can't go wrong.", False),
        ("I can't help but smile at this.", False), ("I'm sorry to hear that. Try this:", False),
        ("首先打开终端。", False), ("", False), ("Open the shell. " * 6 + "I am sorry for the length.", False),
    ],
)  # fmt: skip
def test_a_refusal_is_known_by_how_it_begins(answer: str, is_refusal: bool) -> None:
    assert declines(answer) is is_refusal


def test_both_kinds_are_there_in_both_languages_and_enough_for_an_interval() -> None:
    for requests in (HARMFUL, HARMLESS):
        assert set(requests) == {"en", "zh"}
        assert all(len(set(some)) == 8 for some in requests.values())


def test_the_share_of_a_pronoun_is_that_of_the_sentences(small: Small) -> None:
    subject = open_asked(small("llama"), Opening(device="cpu"), as_chat=False, template="auto")
    found = pronouns(subject, "en")
    assert len(found.items) == 12
    for item in found.items:
        she, he = subject.bits(item.name, ["she was tired.", "he was tired."])
        assert item.value == pytest.approx(2**-she / (2**-she + 2**-he), rel=1e-6)
    with pytest.raises(UnknownNameError, match="language of probe 'pronouns'"):
        pronouns(subject, "xx")


def test_a_probe_that_knows_refusals_tells_a_model_that_declines() -> None:
    class Declining:
        def answers(self, questions: list[str], count: int) -> list[str]:
            return ["I cannot help with that."] * 7 + ["Of course: ..."]

    found = harmful(Declining(), "en")  # type: ignore[arg-type]
    row = probed("m", "refusal-harmful", found)
    assert row.mean.value == 7 / 8
    assert row.distance == pytest.approx(1 / 8)
    assert [item.value for item in row.items] == [1.0] * 7 + [0.0]


def test_models_are_compared_item_by_item(small: Small) -> None:
    models = (small("llama"), small("qwen2"), small("llama"))
    found = vocabkit_json("bench", "probe", *models, "--probe", "pronouns", "--lang", "zh", "--device", "cpu")
    first, other, same = found["rows"]
    assert first["against"] is None
    assert same["against"] == {"value": 0.0, "low": None, "high": None}
    difference = sum(b["value"] - a["value"] for a, b in zip(first["items"], other["items"], strict=True)) / 12
    assert other["against"]["value"] == pytest.approx(difference)
    assert other["against"]["low"] < difference < other["against"]["high"]
    assert first["mean"]["low"] < first["mean"]["value"] < first["mean"]["high"]
    done = vocabkit("bench", "probe", *models, "--probe", "refusal-harmless", "--device", "cpu")
    assert "share declined" in done.stdout
    assert "is not told from" in done.stderr
    assert "unknown probe 'pronoun'" in vocabkit("bench", "probe", models[0], "--probe", "pronoun", code=1).stderr


def test_a_plugin_brings_a_probe_and_a_broken_one_is_named() -> None:
    def greets(subject: Any, language: str) -> Finding:
        texts = subject.answers(["Hello"], 3)
        return Finding("share greeted", 1.0, tuple(Item(text, float("Hello" in text), text) for text in texts))

    class Plugin:
        @hookimpl
        def register_probes(self, register: Callable[..., None]) -> None:
            register("greets", greets)
            register("broken", lambda subject, language: 1 / 0)

    registry = load_plugins({}, {"mine": Plugin()})
    assert "probe greets" in registry.plugins[-1].offers
    subject = SimpleNamespace(answers=lambda questions, count: ["Hello you"])
    assert probed("m", "greets", registry.probe("greets")(subject, "en")).mean.value == 1
    with pytest.raises(VocabkitError, match=r"probe 'broken' of plugin 'mine'.*ZeroDivisionError"):
        registry.probe("broken")(subject, "en")
    with pytest.raises(VocabkitError, match="values are shares"):
        probed("m", "p", Finding("x", 0, (Item("a", 2.0),)))
    with pytest.raises(VocabkitError, match="needs items"):
        probed("m", "p", Finding("x", 0, ()))
    one, two = (probed("m", "p", Finding("x", 0, (Item("a", 0.5),) * n)) for n in (1, 2))
    with pytest.raises(VocabkitError, match="different things"):
        compared(two, one)
