"""How many more tokens a language takes than English for the same text: the tokenization premium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vocabkit.errors import BadTextError, VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.base import Tokenizer, chunks

LINES_PER_BATCH = 4096


@dataclass(frozen=True)
class Parity:
    """One tokenizer on parallel texts.

    tokens: of each language's whole text; premium: the same, in units of the reference's tokens.
    mean: of the premiums, each language once.  worst: the code of the language with the greatest premium.
    """

    tokenizer: str
    reference_tokens: int
    tokens: dict[str, int]
    premium: dict[str, float]
    mean: float
    worst: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def parity(
    tokenizers: Sequence[tuple[str, Tokenizer, int | None]], texts: Mapping[str, Sequence[str]], *, reference: str
) -> list[Parity]:
    """Return a row for each tokenizer: the premium of every text over that of `reference`.

    tokenizers: (name, tokenizer, first new id or None).  texts: code -> lines, as `read_parallel` gives them.
    Premiums are ratios of sums over whole texts, so that a missing paragraph counts as no tokens.
    Raises VocabkitError for a tokenizer that makes no token of the reference.   Source: arXiv 2305.15425.
    """
    rows = []
    for name, tokenizer, _ in tokenizers:
        tokens = {code: _count(tokenizer, lines) for code, lines in texts.items()}
        yardstick = tokens.pop(reference)
        if not yardstick:
            raise VocabkitError(f"{name} makes no token of {reference}.txt; use another tokenizer or --reference")
        premium = {code: round(count / yardstick, 4) for code, count in tokens.items()}
        mean = round(sum(premium.values()) / len(premium), 4)
        rows.append(Parity(name, yardstick, tokens, premium, mean, max(premium, key=premium.__getitem__)))
    return rows


def read_parallel(folder: Path, reference: str) -> dict[str, list[str]]:
    """Return the lines of every CODE.txt in `folder` that are not blank, by code; hidden files are left out.

    Raises VocabkitError without a reference or a language beside it, and for a file that is empty or cannot be read.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.txt")) if path.is_file() and path.stem[0] != "."}
    if not paths:
        raise VocabkitError(f"{folder} holds no CODE.txt; put a file for each language there, {reference}.txt too")
    if reference not in paths:
        known = ", ".join(paths)
        raise VocabkitError(f"{folder} holds no {reference}.txt; add it, or name another with --reference ({known})")
    if len(paths) == 1:
        raise VocabkitError(f"{folder} holds only {reference}.txt; add the same text in other languages")
    return {code: _read(path) for code, path in paths.items()}


def other_lengths(texts: Mapping[str, Sequence[str]], reference: str) -> dict[str, int]:
    """Return how many lines the texts have that have not as many as the reference: those are not quite parallel."""
    return {code: len(lines) for code, lines in texts.items() if len(lines) != len(texts[reference])}


def name_of(code: str, languages: Mapping[str, Language]) -> str:
    """Return a language's English name; the code itself where no plugin knows it.

    zh -> "Chinese", zh-Hant -> "Chinese (Hant)", dz -> "dz"
    """
    if code in languages:
        return languages[code].name
    primary, _, more = code.partition("-")
    if more and primary in languages:
        return f"{languages[primary].name} ({more})"
    return "English" if code == "en" else code


def _read(path: Path) -> list[str]:
    try:
        # A byte order mark is no text.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise BadTextError(
            f"{path} is not UTF-8 ({bad}); save it as UTF-8, for example with iconv -t utf-8"
        ) from error
    except OSError as error:
        raise VocabkitError(f"{path} cannot be read: {error.strerror}; mend or remove it") from error
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines:
        raise VocabkitError(f"{path} holds no text; fill it, or remove it")
    return lines


def _count(tokenizer: Tokenizer, lines: Sequence[str]) -> int:
    return sum(len(ids) for batch in chunks(lines, LINES_PER_BATCH) for ids in tokenizer.encode(batch))
