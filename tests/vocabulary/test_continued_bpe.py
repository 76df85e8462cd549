"""The fast learner against a slow one that a reader can check by eye."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vocabkit.language import Language
from vocabkit.plugins import Registry
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.spans import SpanCutter, TokenRules


def slow_learn(base: Tokenizer, spans: dict[str, int], size: int, rules: TokenRules) -> list[NewToken]:
    """Continued BPE, by counting everything again for every token.

    One step: the most frequent pair of neighbours becomes a token, or a character that takes several tokens gets
    the next token of its spelling.  Then every pair of neighbours that spells a known new token is joined.
    """
    units = base.units(list(spans))
    order = sorted(range(len(units.spellings)), key=lambda i: units.spellings[i].token)
    number = {base.size + old: base.size + new for new, old in enumerate(order)}
    spellings = [units.spellings[i] for i in order]
    text = {base.size + i: spelling.token for i, spelling in enumerate(spellings)}
    lines: dict[int, list[int]] = {}
    for unit, span in zip(units.ids.tolist(), units.span.tolist(), strict=True):
        lines.setdefault(span, []).append(number.get(unit, unit))
    weights = list(spans.values())
    is_open = dict.fromkeys(text, False)
    done = dict.fromkeys(text, 0)
    known: dict[bytes, int] = {}
    learned: list[NewToken] = []

    def spelled(unit: int) -> bytes:
        return text[unit] if unit in text else base.token_bytes(unit) or b""

    def joinable(unit: int) -> bool:
        return unit >= 0 and is_open.get(unit, True)

    def join_known() -> None:
        for line in lines.values():
            changed = True
            while changed:
                changed = False
                for i in range(len(line) - 1):
                    if joinable(line[i]) and joinable(line[i + 1]):
                        target = known.get(spelled(line[i]) + spelled(line[i + 1]))
                        if target is not None:
                            line[i : i + 2] = [target]
                            changed = True
                            break

    while len(learned) < size:
        pairs: Counter[tuple[int, int]] = Counter()
        steps: Counter[NewToken] = Counter()
        for span, line in lines.items():
            i = 0
            previous_equal = False
            for i in range(len(line) - 1):
                a, b = line[i], line[i + 1]
                if joinable(a) and joinable(b):
                    # a run of three equal units holds the pair once, not twice
                    if a == b and previous_equal:
                        previous_equal = False
                        continue
                    previous_equal = a == b
                    pairs[a, b] += weights[span]
                else:
                    previous_equal = False
            for unit in line:
                if unit in text and not is_open.get(unit, True):
                    spelling = spellings[unit - base.size]
                    steps[spelling.steps[done[unit]]] += weights[span] * spelling.saved
        candidates = [(-n, 0, step.token, step) for step, n in steps.items() if rules(step.token)]
        allowed = {
            pair: n
            for pair, n in pairs.items()
            if rules(token := spelled(pair[0]) + spelled(pair[1])) and base.find(token) is None
        }
        candidates += [(-n, 1, (a << 32 | b), (a, b)) for (a, b), n in allowed.items()]  # type: ignore[misc]
        candidates = [c for c in candidates if -c[0] >= 2]
        if not candidates:
            break
        negative, kind, _, best = min(candidates, key=lambda c: c[:3])
        if kind == 0:
            assert isinstance(best, NewToken)
            learned.append(NewToken(best.token, best.parts, -negative))
            for unit in text:
                if unit in is_open and not is_open[unit] and unit - base.size < len(spellings):
                    spelling = spellings[unit - base.size]
                    if spelling.steps[done[unit]].token == best.token:
                        done[unit] += 1
                        if done[unit] == len(spelling.steps):
                            is_open[unit] = True
                            known[text[unit]] = unit
        else:
            a, b = best  # type: ignore[misc]
            token = spelled(a) + spelled(b)
            new = base.size + len(spellings) + sum(1 for t in text if t >= base.size + len(spellings))
            text[new] = token
            known[token] = new
            learned.append(NewToken(token, (spelled(a), spelled(b)), -negative))
        join_known()
    return learned


TOY = Language("zh", "Chinese", ((0x4E00, 0x9FFF), (0x3001, 0x3002)), samples=("中",))


def toy_spans(seed: int, number: int = 300) -> dict[str, int]:
    """Random strings of a few characters, common and rare ones, with marks and self-overlapping runs."""
    generator = random.Random(seed)
    alphabet = "中国人民大学生的是不了在有我他这哈哈葡萄魑魅、。"
    weights = [generator.random() ** 3 + 0.02 for _ in alphabet]
    lines = ("".join(generator.choices(alphabet, weights, k=generator.randint(1, 12))) for _ in range(number))
    return dict(Counter(line for line in lines if any(TOY.owns(c) for c in line)))


@pytest.mark.parametrize("seed", range(6))
def test_byte_level_learning_equals_counting_everything_again(smollm2_folder: Path, seed: int) -> None:
    base = open_tokenizer(smollm2_folder)
    spans = toy_spans(seed)
    rules = TokenRules(TOY, " ", frozenset(), 16)
    fast = learn_merges(
        base, base.units(list(spans)), np.fromiter(spans.values(), np.int64), size=150, may_learn=rules
    )
    slow = slow_learn(base, spans, 150, rules)
    assert [t.token for t in fast] == [t.token for t in slow]
    assert [t.count for t in fast] == [t.count for t in slow]


def test_a_smaller_size_is_a_prefix(mistral: Tokenizer, registry: Registry, chinese_lines: list[str]) -> None:
    chinese = registry.language("zh")
    spans = Counter(SpanCutter(mistral.preparer(), chinese)("\n".join(chinese_lines[:3000]), True, True))
    many = learn(mistral, chinese, spans, size=1500, max_length=8)
    few = learn(mistral, chinese, spans, size=400, max_length=8)
    assert many[:400] == few


def test_the_order_of_spans_does_not_matter(
    smollm2_folder: Path, registry: Registry, chinese_lines: list[str]
) -> None:
    base, chinese = open_tokenizer(smollm2_folder), registry.language("zh")
    spans = Counter(SpanCutter(base.preparer(), chinese)("\n".join(chinese_lines[:2000]), True, True))
    items = list(spans.items())
    random.Random(1).shuffle(items)
    forwards = learn(base, chinese, spans, size=800, max_length=8)
    assert learn(base, chinese, dict(items), size=800, max_length=8) == forwards
