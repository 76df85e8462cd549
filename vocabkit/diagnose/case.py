"""What the checks look at: the patient, the base it was made from, and which ids are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vocabkit.diagnose.patient import TOKENIZER_CONFIG, Elsewhere, Patient
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_alphabet import readable


@dataclass
class Case:
    """A patient and what is known about it.

    base: the model or tokenizer it was made from.  texts: lines on which engines are compared.
    elsewhere: encodes them in a process that has only the saved files; None to leave that out.
    read_ggufs: what GGUF files say, once they were read; None for one that cannot be.
    """

    patient: Patient
    base: Patient | None = None
    texts: tuple[str, ...] = ()
    elsewhere: Elsewhere | None = None
    read_ggufs: dict[Path, dict[str, Any] | None] = field(default_factory=dict)

    @cached_property
    def first_new(self) -> int:
        """The first id that the base does not have: by the base, or by vocabkit's manifest; 0 when nobody says."""
        if self.base is not None and self.base.tokenizer is not None:
            return self.base.tokenizer.size
        size = (self.patient.manifest.get("base") or {}).get("size")
        return size if isinstance(size, int) else 0

    @property
    def new_ids(self) -> range:
        """The ids that are looked at: the new ones, or all when nobody says which are new."""
        return range(self.first_new, self.patient.tokenizer.size if self.patient.tokenizer else 0)

    @property
    def new(self) -> str:
        """What `new_ids` are, in words."""
        return "new tokens" if self.first_new else "tokens"

    @property
    def hint(self) -> str:
        """What to do when a base's own faults may be among the findings."""
        return "" if self.first_new else "; --against BASE leaves out what the base has too"

    @cached_property
    def spelled(self) -> Mapping[int, str]:
        """Id -> token as the files spell it."""
        return {i: token for token, i in self.patient.tokenizer.id_table.items()} if self.patient.tokenizer else {}


def special_token(patient: Patient, tokenizer: Tokenizer, key: str) -> tuple[str, int | None] | None:
    """Return the token that tokenizer_config.json names under `key`, with its id; None when it names none.

    The id is None when the tokenizer does not know the token.
    """
    content = content_of(patient.settings[TOKENIZER_CONFIG].get(key))
    return (content, tokenizer.id_table.get(content)) if content else None


def content_of(value: object) -> str:
    """Return the text of a special token, which may be written as an object: {"content": "</s>"} -> "</s>"."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def examples(case: Case, ids: Sequence[int]) -> tuple[str, ...]:
    """Return ids with their tokens, as a person reads them."""
    tokenizer = case.patient.tokenizer
    tokens = ((i, tokenizer.token_bytes(i) if tokenizer and i < tokenizer.size else None) for i in ids)
    return tuple(f"{i} {readable(token) if token else case.spelled.get(i, '')!r}" for i, token in tokens)
