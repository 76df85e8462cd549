"""The text of an experiment: documents in an order for every seed, and held-out lines that are not among them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocabkit.corpus import open_corpus
from vocabkit.errors import VocabkitError
from vocabkit.files import write_whole
from vocabkit.measure.paired import FEWEST_LINES
from vocabkit.plugins import Registry
from vocabkit.train.token_writer import documents

TARGET, REPLAY, BASE = "target", "replay", "base"


@dataclass(frozen=True)
class Texts:
    """What is trained and measured on.

    trained: "target", and "replay" where there is any -> documents.  held: "target" and "base" -> lines.
    """

    trained: dict[str, list[str]]
    held: dict[str, list[str]]

    def bytes(self, name: str) -> int:
        """Return the UTF-8 bytes of a text that is trained on."""
        return sum(len(document.encode()) for document in self.trained[name])

    def hashes(self) -> dict[str, str]:
        """Return what tells these texts from others."""
        every = {**self.trained, **{f"held-out {name}": lines for name, lines in self.held.items()}}
        return {name: _hash(texts) for name, texts in every.items()}


def read_documents(specs: Sequence[str], registry: Registry, field: str) -> list[str]:
    """Return the documents of a corpus, as training reads them: each line of plain text, each record of others.

    Raises VocabkitError when there are none.
    """
    corpus = open_corpus(specs, registry=registry, field=field)
    found = [document for document in documents([corpus], False) if document.strip()]
    if not found:
        raise VocabkitError(f"{', '.join(specs)} holds no text to train on; name another")
    return found


def check_held_out(texts: Texts, names: Mapping[str, str]) -> None:
    """Raise VocabkitError when there is too little held-out text, or a line of it is trained on.

    names: of the held-out texts, as the user gave them.  Lines are compared without regard to their spaces.
    """
    trained = {_plain(line) for text in texts.trained.values() for document in text for line in document.split("\n")}
    for name, lines in texts.held.items():
        if len(lines) < FEWEST_LINES:
            raise VocabkitError(
                f"{names[name]} holds {len(lines)} lines of held-out text; {FEWEST_LINES} at least are needed to say "
                f"how sure a difference is, better a hundred"
            )
        shared = [line for line in lines if _plain(line) in trained]
        if shared:
            raise VocabkitError(
                f"{len(shared)} of {len(lines)} lines of {names[name]} are trained on too, the first is "
                f"{shared[0][:40]!r}; measure on other text, or take these lines out of one of the two"
            )


def ordered(texts: Sequence[str], seed: int) -> list[str]:
    """Return documents in the order of a seed, which no tokenizer has a part in."""
    return [texts[i] for i in np.random.default_rng([seed, len(texts)]).permutation(len(texts))]


def first_bytes(texts: Sequence[str], size: float) -> list[str]:
    """Return the first documents that have at most `size` bytes together, and one at least."""
    taken = 0
    for number, document in enumerate(texts):
        taken += len(document.encode())
        if taken > size and number:
            return list(texts[:number])
    return list(texts)


def write_documents(path: Path, texts: Iterable[str]) -> None:
    """Write documents as JSON Lines, which hold line breaks too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))


def _plain(line: str) -> str:
    return " ".join(line.split())


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:32]
