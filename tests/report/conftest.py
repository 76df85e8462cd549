"""A small extension of a real base, with weights, a vocabulary and a manifest, as `extend` leaves it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vocabkit.language import Language
from vocabkit.manifest import write_manifest
from vocabkit.measure.before_after import lengths_by_script, lengths_by_text
from vocabkit.measure.side_by_side import changed_lines, extremes
from vocabkit.measure.size_curve import prefixes_of, size_curve, sizes
from vocabkit.report.facts import Curve, Facts
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.continued_bpe import learn_merges
from vocabkit.vocabulary.new_tokens import describe
from vocabkit.vocabulary.spans import SpanCutter, TokenRules
from vocabkit.vocabulary.verify import verify
from vocabkit.vocabulary.vocabulary_file import write_vocabulary

# What is quick to prove; the others have tests of their own.
QUICK = ("G1", "G2", "G5", "G6", "G12")
NUM_TOKENS, WIDTH = 600, 16


@pytest.fixture(scope="session")
def learned(mistral: Tokenizer, chinese: Language, chinese_lines: list[str]) -> list[NewToken]:
    """The 600 tokens that 2,000 real lines of Chinese ask for first."""
    preparer = mistral.preparer()
    cut = SpanCutter(preparer, chinese)
    spans = Counter(span for line in chinese_lines[:2000] for span in cut(line, True, True))
    rules = TokenRules(chinese, preparer.mark, frozenset(mistral.special_tokens), chinese.max_token_length)
    counts = np.fromiter(spans.values(), np.int64, len(spans))
    tokens = learn_merges(mistral, mistral.units(list(spans)), counts, size=NUM_TOKENS, may_learn=rules)
    assert len(tokens) == NUM_TOKENS
    return tokens


@pytest.fixture(scope="session")
def made(
    mistral: Tokenizer, learned: list[NewToken], chinese: Language, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `vocabkit extend` would write for them, with random weights and the quick part of a certificate."""
    numpy = pytest.importorskip("safetensors.numpy")
    folder = tmp_path_factory.mktemp("report") / "llm-zh"
    folder.mkdir()
    tokenizer = mistral.extended(learned)
    tokenizer.save(folder)
    write_vocabulary(learned, folder)
    rows = np.random.default_rng(0).standard_normal((32640, WIDTH)).astype(np.float16)
    # The first new row is that of the old token 1000, but for its length.
    rows[mistral.size] = rows[1000] * np.float16(0.5)
    numpy.save_file({"model.embed_tokens.weight": rows}, folder / "model.safetensors")
    config = {"vocab_size": 32640, "tie_word_embeddings": True, "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nlanguage: [zh]\n---\n\n# llm-zh\n\nWords of its author.\n", encoding="utf-8"
    )
    write_manifest(
        folder,
        "extend",
        arguments={"lang": "zh", "base": "starter", "size": NUM_TOKENS, "merger": "ranked"},
        inputs=[],
        base={"name": "tokenizer.model.v1", "family": mistral.family, "size": mistral.size, "rows": mistral.size},
        language="zh",
        new_tokens=NUM_TOKENS,
        size=tokenizer.size,
        padded_size=32640,
        certificate=verify(tokenizer, mistral, language=chinese, only=QUICK).to_json(),
    )
    return folder


@pytest.fixture(scope="session")
def facts_of() -> Callable[..., Facts]:
    """Return what is known of a tokenizer that was made in memory."""

    def gathered(
        base: Tokenizer,
        candidate: Tokenizer,
        lines: Sequence[str],
        *,
        name: str = "made",
        learned: Sequence[NewToken] = (),
        language: Language | None = None,
    ) -> Facts:
        tokens = describe(base, candidate, learned, lines)
        worst, best = extremes(base, candidate, lines)
        points = size_curve(prefixes_of(base, learned), sizes(len(learned)), [lines]) if learned else []
        return Facts(
            name, "base", language.name if language else "", language.code if language else "", candidate.family,
            base.size, candidate.size, candidate.size, False, {},
            verify(candidate, base, language=language, only=("G1", "G6")).to_json(), False,
            tuple(lengths_by_text(base, candidate, [("lines", lines)])),
            tuple(lengths_by_script(base, candidate, lines)),
            tuple(worst), tuple(best), tuple(changed_lines(base, candidate, probes.english_lines())), 35,
            tuple(tokens), {piece: base.token_bytes(piece) or b"" for token in tokens for piece in token.replaces},
            curve=Curve(tuple(points)),
        )  # fmt: skip

    return gathered
