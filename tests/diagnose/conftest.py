"""A tiny extended model as `vocabkit extend` writes it, and copies of it to break."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tiny_models import tiny

from vocabkit.language import Language
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.rows.initializers import subword_mean
from vocabkit.tokenizer import open_tokenizer
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.merge import ranked
from vocabkit.vocabulary.model_card import write_generation_config
from vocabkit.vocabulary.requests import RowOptions
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.vocabulary_file import Vocabulary
from vocabkit.vocabulary.weights import extend_weights

pytest.importorskip("torch")
pytest.importorskip("transformers")
OLD, NEW = 2048, 300


@pytest.fixture(scope="session")
def base(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of random weights, input and head apart, with the first 2,048 tokens of SmolLM2."""
    tokenizer = tmp_path_factory.mktemp("tokenizer")
    data = json.loads((smollm2_folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = {token: i for token, i in data["model"]["vocab"].items() if i < OLD}
    data["model"] |= {"vocab": vocab, "merges": [p for p in data["model"]["merges"] if "".join(p) in vocab]}
    (tokenizer / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    shutil.copy(smollm2_folder / "tokenizer_config.json", tokenizer)
    return tiny(tmp_path_factory.mktemp("base") / "model", tokenizer, tied=False, vocab_size=OLD)


@pytest.fixture(scope="session")
def extended(
    base: Path, chinese: Language, chinese_lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same with 300 Chinese tokens: what `vocabkit extend` writes, but for the certificate."""
    folder = tmp_path_factory.mktemp("extended") / "model"
    folder.mkdir()
    old, checkpoint = open_tokenizer(base), open_checkpoint(base)
    spans = Counter(SpanCutter(old.preparer(), chinese)("\n".join(chinese_lines[:500]), True, True))
    merged = ranked(old, Vocabulary(tokens=tuple(learn(old, chinese, spans, size=NEW, max_length=8))), chinese)
    rows = padded_rows(old, merged.tokenizer.size)
    how = RowOptions(subword_mean, "subword-mean")
    extend_weights(checkpoint, old, merged.tokenizer, merged.added, folder, rows=rows, how=how)
    merged.tokenizer.save(folder)
    write_generation_config(checkpoint, folder, size=merged.tokenizer.size, rows=rows)
    return folder


@pytest.fixture
def model(extended: Path, tmp_path: Path) -> Path:
    """A copy of the extended model, to break."""
    return Path(shutil.copytree(extended, tmp_path / "model"))
