"""Texts on which two tokenizers are compared: English, code, every script, noise, and the new tokens themselves."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import vocabkit

SEED = 20231
WORDS_IN_A_LINE = 15
# One representative run of each big script, emoji, controls, combining marks and private use.
BLOCKS = (
    (0x0020, 0x007E), (0x00A0, 0x024F), (0x0300, 0x036F), (0x0370, 0x03FF), (0x0400, 0x04FF), (0x0590, 0x05F4),
    (0x0600, 0x06FF), (0x0900, 0x097F), (0x0E00, 0x0E5B), (0x0F00, 0x0FDA), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1200, 0x137C), (0x1780, 0x17F9), (0x1820, 0x1878), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20BF),
    (0x2190, 0x22FF), (0x2500, 0x259F), (0x3001, 0x303F), (0x3041, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF), (0xFE00, 0xFE0F), (0xFF01, 0xFFEE), (0x1F300, 0x1FAFF), (0x20000, 0x200FF),
)  # fmt: skip


@cache
def english_lines() -> tuple[str, ...]:
    """Return English prose with the numbers, names and marks that ordinary text has."""
    text = (Path(__file__).parent / "english.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


def prose_of(words: Mapping[str, int], number: int = 20_000, glue: str = " ") -> tuple[str, ...]:
    """Return lines of words as frequent as in `words`: what a list of words says of running text.

    words: word -> count.  number: lines.  glue: what stands between two words.
    """
    generator = random.Random(SEED)
    chosen = iter(generator.choices(list(words), list(words.values()), k=number * WORDS_IN_A_LINE))
    lines = (glue.join(islice(chosen, WORDS_IN_A_LINE)) for _ in range(number))
    stripped = (line.strip() for line in lines)
    return tuple(line[:1].upper() + line[1:] + "." for line in stripped)


@cache
def code_lines() -> tuple[str, ...]:
    """Return program code with its comments: vocabkit's own modules."""
    root = Path(vocabkit.__file__).parent
    lines: dict[str, None] = {}
    for path in sorted(root.rglob("*.py")):
        lines.update(dict.fromkeys(path.read_text(encoding="utf-8").splitlines()))
    return tuple(line for line in lines if line.strip() and line.isascii())


@cache
def mixed_lines(number: int = 1500) -> tuple[str, ...]:
    """Return strings that mix scripts, digits, white space, and bytes that are no text."""
    generator = random.Random(SEED)
    lines = []
    for index in range(number):
        if index % 5 == 4:
            lines.append(generator.randbytes(24).decode("utf-8", errors="replace"))
            continue
        blocks = generator.sample(BLOCKS, k=generator.randint(1, 3))
        length = generator.randint(1, 40)
        characters = [chr(generator.randint(*generator.choice(blocks))) for _ in range(length)]
        for _ in range(generator.randint(0, 3)):
            insert = generator.choice((" ", "  ", "\n", "\t", "2024", "3.14", "\u200d", "\ufe0f", " a ", "\r\n"))
            characters.insert(generator.randrange(length), insert)
        lines.append("".join(characters))
    return tuple(lines)


def token_soup(texts: Sequence[str], number: int = 2000) -> tuple[str, ...]:
    """Return random sequences of `texts`: where new tokens meet, overlap and compete."""
    if not texts:
        return ()
    generator = random.Random(SEED)
    glue = ("", "", "", "", " ", "\n", "，", "。", "a", "1")
    lines = []
    for _ in range(number):
        parts = generator.choices(texts, k=generator.randint(1, 16))
        cut = [part[generator.randrange(len(part)) :] if generator.random() < 0.2 else part for part in parts]
        lines.append("".join(part + generator.choice(glue) for part in cut))
    return tuple(lines)


def character_lines(owns: Callable[[str], bool]) -> Iterator[str]:
    """Yield every assigned character that `owns` refuses, beside letters, a digit and a space: its cuts show."""
    for block in scalar_blocks():
        others = [c for c in block if unicodedata.category(c) not in ("Cn", "Co") and not owns(c)]
        if others:
            yield "".join(f"a{c} {c}b{c}1" for c in others)


def scalar_blocks(size: int = 128) -> Iterator[list[str]]:
    """Yield all 1,112,064 Unicode scalar values, `size` at a time."""
    block: list[str] = []
    for code_point in range(0x110000):
        if not 0xD800 <= code_point < 0xE000:
            block.append(chr(code_point))
            if len(block) == size:
                yield block
                block = []
    if block:
        yield block
