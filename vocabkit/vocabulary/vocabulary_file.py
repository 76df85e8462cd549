"""Read and write vocabularies: vocabkit's own `vocabulary.jsonl`, and anybody else's list of pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vocabkit.errors import VocabkitError
from vocabkit.tokenizer import hf_json, model_proto
from vocabkit.tokenizer.base import NewToken
from vocabkit.tokenizer.byte_alphabet import bytes_of, from_readable, readable
from vocabkit.tokenizer.widen import EXTEND, KEEP, PRETOKENIZERS

FILE_NAME = "vocabulary.jsonl"
WORD_BOUNDARY = model_proto.SPACE
HEADER = "pretokenizer"


@dataclass(frozen=True)
class Vocabulary:
    """New tokens to merge into a base.

    tokens: learned by vocabkit on that base, in learning order; empty for a foreign vocabulary.
    pieces: a foreign vocabulary's pieces in its own order, ▁ for a word boundary; None for vocabkit's own.
    source: the file they came from, None when they were just learned.
    pretokenizer: "extend" when they were learned on the base with its pre-tokenizer extended, and fit only that.
    """

    tokens: tuple[NewToken, ...] = ()
    pieces: tuple[str, ...] | None = None
    source: Path | None = None
    pretokenizer: str = KEEP

    def first(self, size: int) -> Vocabulary:
        """Return the vocabulary's first `size` entries, which are what learning fewer would have given."""
        pieces = None if self.pieces is None else self.pieces[:size]
        return replace(self, tokens=self.tokens[:size], pieces=pieces)

    def check_pretokenizer(self, chosen: str) -> None:
        """Raise VocabkitError when it was learned with another --pretokenizer than `chosen`; pieces fit both."""
        if self.pieces is None and self.pretokenizer != chosen:
            raise VocabkitError(
                f"{self.source or 'the vocabulary'} was learned with --pretokenizer {self.pretokenizer} and does not "
                f"fit --pretokenizer {chosen}; use --pretokenizer {self.pretokenizer} here too, or learn it again"
            )

    def __len__(self) -> int:
        return len(self.tokens) if self.pieces is None else len(self.pieces)


def write_vocabulary(tokens: Sequence[NewToken], folder: Path, pretokenizer: str = KEEP) -> Path:
    """Write one line per token: token, its two parts, count; bytes that are no text as <0xE4>.

    What was learned with an extended pre-tokenizer says so in a line before them.
    """
    path = folder / FILE_NAME
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if pretokenizer == EXTEND:
            file.write(json.dumps({HEADER: pretokenizer}) + "\n")
        for token in tokens:
            row = {
                "token": token.text,
                "parts": [readable(part) for part in token.parts],
                "count": token.count,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def read_vocabulary(path: Path) -> Vocabulary:
    """Read what `--vocabulary` names: output of `vocabkit learn`, a .model, a tokenizer.json or a word list."""
    if path.is_dir():
        candidates = [path / name for name in (FILE_NAME, "tokenizer.json", *("tokenizer.model", "spiece.model"))]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            raise VocabkitError(f"{path} holds no {FILE_NAME}, tokenizer.json or tokenizer.model; name a vocabulary")
        path = found
    if not path.is_file():
        raise VocabkitError(f"{path} does not exist; name a vocabulary file or the output of `vocabkit learn`")
    if path.suffix == ".jsonl":
        tokens, pretokenizer = _read_learned(path)
        return Vocabulary(tokens=tuple(tokens), source=path, pretokenizer=pretokenizer)
    if path.suffix == ".json":
        return Vocabulary(pieces=tuple(_pieces_of_json(path)), source=path)
    if path.suffix == ".model":
        proto = model_proto.read(path)
        pieces = (p.piece for p in proto.pieces if p.type in (model_proto.NORMAL, model_proto.USER_DEFINED))
        return Vocabulary(pieces=tuple(pieces), source=path)
    return Vocabulary(pieces=tuple(_read_words(path)), source=path)


def _read_learned(path: Path) -> tuple[list[NewToken], str]:
    tokens, pretokenizer = [], KEEP
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if number == 1 and row.get(HEADER) in PRETOKENIZERS:
                pretokenizer = row[HEADER]
                continue
            parts = tuple(from_readable(part) for part in row["parts"])
            tokens.append(NewToken(from_readable(row["token"]), parts, int(row["count"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VocabkitError(
                f"{path}, line {number} is no learned token ({error}); run `vocabkit learn` again"
            ) from error
    return tokens, pretokenizer


def _pieces_of_json(path: Path) -> list[str]:
    data = hf_json.read(path)
    specials = hf_json.added_tokens(data)
    ordered = sorted(hf_json.vocabulary(data).items(), key=lambda item: item[1])
    spellings = [spelling for spelling, _ in ordered if spelling not in specials]
    if not hf_json.uses_byte_level(data):
        return spellings
    pieces = []
    for spelling in spellings:
        try:
            pieces.append(bytes_of(spelling).decode().replace(" ", WORD_BOUNDARY))
        except ValueError:
            continue  # the beginning of a character is no piece of anything else
    return pieces


def _read_words(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise VocabkitError(f"{path} is not UTF-8 text ({error.reason}); give one piece a line") from error
    return [word for line in lines if (word := line.split("\t")[0].strip())]
