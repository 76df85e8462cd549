"""Text to shards of sequences, in a process of its own, which runs ahead of whoever reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.corpus import Corpus, open_corpus
from vocabkit.errors import VocabkitError
from vocabkit.files import lock, write_whole
from vocabkit.model.chat import template_for
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import eos_id, start_id
from vocabkit.train.chat import examples
from vocabkit.train.packing import Sequences, joined, packed
from vocabkit.train.recipe import SHARD_BYTES, Recipe

DONE, FAILED, LOCK = "done.json", "failed.json", "writer.lock"


def shard_name(number: int) -> str:
    """Return the name of a shard's file."""
    return f"{number:06d}.safetensors"


def byte_lengths(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return how many UTF-8 bytes of text every id stands for, [size]; 0 for special ones."""
    return np.array([len(tokenizer.token_bytes(i) or b"") for i in range(tokenizer.size)], np.int64)


def fill(recipe: Recipe, path: Path, workers: int) -> None:
    """Write every shard, then `done.json`; or `failed.json` with the reason."""
    import signal

    # Signals are for the run, which stops this process when it has saved.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = str(workers)
    held = lock(path / LOCK, wait=True)
    try:
        if (path / DONE).is_file():
            return
        corpora = _corpora(recipe)
        tokenizer = open_tokenizer(recipe.tokenizer)
        facts: dict[str, Any] = {"shards": 0, "sequences": 0, "tokens": 0, "bytes": 0}
        cut = Cut()
        for number, sequences in enumerate(_shards(recipe, corpora, tokenizer, cut)):
            written = path / f"{number:06d}.{os.getpid()}.partial"
            sequences.save(written)
            written.replace(path / shard_name(number))
            facts["shards"] += 1
            facts["sequences"] += len(sequences)
            facts["tokens"] += int(sequences.learned.sum())
            facts["bytes"] += int(sequences.bytes.sum())
        problems = [line for corpus in corpora for line in corpus.problems.summaries()]
        _write(path / DONE, {**facts, "cut": cut.shortened, "problems": [*problems, *cut.notes(recipe.block_size)]})
    except VocabkitError as error:
        _write(path / FAILED, {"error": str(error)})
    except Exception as error:
        # Whatever it is, the run that waits has to know it.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _write(
            path / FAILED, {"error": f"tokenising into {path} failed ({reason}); check its disk, or choose --cache"}
        )
    finally:
        if held is not None:
            held.close()


def _corpora(recipe: Recipe) -> list[Corpus]:
    """Return the corpus; one for each file where files are documents."""
    registry, how = load_plugins(), {"field": recipe.field, "on_bad_text": recipe.on_bad_text}
    whole = open_corpus(recipe.specs, registry=registry, **how)
    if recipe.documents != "files" or len(whole.files) != len(whole.names):
        return [whole]
    return [open_corpus([str(path)], registry=registry, **how) for path in whole.files]


@dataclass
class Cut:
    """Examples that were longer than a block: those that lost their end, and those of which no response was left."""

    shortened: int = 0
    dropped: int = 0

    def notes(self, block_size: int) -> list[str]:
        """Return what the user should know."""
        found = []
        if self.shortened:
            found.append(f"{self.shortened:,} examples are longer than {block_size} tokens and were cut")
        if self.dropped:
            found.append(f"{self.dropped:,} examples have no response within {block_size} tokens and were left out")
        return found


def _shards(recipe: Recipe, corpora: Sequence[Corpus], tokenizer: Tokenizer, cut: Cut) -> Iterator[Sequences]:
    """Yield the sequences of every SHARD_BYTES of text."""
    lengths = byte_lengths(tokenizer)
    bos = start_id(tokenizer) if recipe.bos else None
    eos = eos_id(tokenizer) if recipe.eos else None
    if recipe.template is not None:
        found: list[tuple[list[int], list[bool]]] = []
        template = template_for(recipe.template, tokenizer, otherwise="alpaca")
        # Prompt and response: about four bytes a token.
        every = (example for corpus in corpora for example in examples(corpus, tokenizer, template, bos, eos))
        for example in every:
            if not any(example[1][1 : recipe.block_size]):
                cut.dropped += 1
                continue
            cut.shortened += len(example[0]) > recipe.block_size
            found.append(example)
            if len(found) * recipe.block_size >= SHARD_BYTES // 4:
                yield joined(found, lengths, recipe.block_size)
                found = []
        if found:
            yield joined(found, lengths, recipe.block_size)
        return
    for group in _groups(documents(corpora, recipe.documents == "files")):
        yield packed(tokenizer.encode(group), lengths, recipe.block_size, bos, eos)


def documents(corpora: Sequence[Corpus], whole_files: bool) -> Iterator[str]:
    """Yield the documents of corpora: records, and lines or, with `whole_files`, whole files of plain text.

    Raises VocabkitError for a list of words.
    """
    for corpus in corpora:
        held: list[str] = []
        for text in corpus:
            if not (text.starts or text.lines or held):
                raise VocabkitError(f"{', '.join(corpus.names)} is a list of words, and no text to train on")
            if whole_files and text.lines:
                held += ["\n" if held and text.starts else "", text.text]
                continue
            # Of a block of lines only the first may go on with what was before.
            for number, line in enumerate(text.text.split("\n") if text.lines else [text.text]):
                if held and (text.starts or number):
                    yield "".join(held)
                    held = []
                held.append(line)
        if held:
            yield "".join(held)


def _groups(texts: Iterator[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for document in texts:
        if not document.strip():
            continue
        group.append(document)
        size += len(document.encode())
        if size >= SHARD_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write(path: Path, data: dict[str, Any]) -> None:
    write_whole(path, json.dumps(data, ensure_ascii=False) + "\n")
