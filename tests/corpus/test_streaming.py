"""Memory does not depend on the size of a file or of a line, and the same text gives the same pieces."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from vocabkit.corpus import Text, open_corpus
from vocabkit.plugins import Registry

# Counts what comes out of a pipe through which 300 MB pass, and says by how much the process grew.
MEASURE = """
import resource, sys
from vocabkit.corpus import open_corpus
from vocabkit.plugins import Registry

open_corpus([__file__], registry=Registry()).__iter__().__next__()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pieces = length = starts = 0
for text in open_corpus([sys.argv[1]], registry=Registry()):
    pieces, length, starts = pieces + 1, length + len(text.text), starts + text.starts
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(pieces, length, starts, (after - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "unit", "num_units", "max_pieces"),
    [
        ("no-spaces.txt", "汉字", 50_000_000, 300),
        ("spaces.txt", "汉字 ", 43_000_000, 310),
        ("lines.txt", "汉字\n", 43_000_000, 310),
    ],
)
def test_memory_does_not_grow_with_the_line_or_the_file(
    tmp_path: Path, name: str, unit: str, num_units: int, max_pieces: int
) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    process = subprocess.Popen(
        [sys.executable, str(script), str(pipe)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    block = (unit * 100_000).encode()
    with pipe.open("wb", buffering=0) as file:
        for _ in range(num_units // 100_000):
            view = memoryview(block)
            while view:
                view = view[file.write(view) :]
    output, _ = process.communicate(timeout=60)
    pieces, length, starts, growth_mib = map(int, output.split())
    assert pieces <= max_pieces
    # Line breaks between pieces are not part of them.
    assert num_units * len(unit) - (pieces if "\n" in unit else 0) == length
    assert starts == (pieces if "\n" in unit else 1)
    assert growth_mib < 24


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_streams_too(tmp_path: Path, name: str) -> None:
    compressor: Any = {
        "gzip": lambda: zlib.compressobj(1, wbits=31),
        "bzip2": bz2.BZ2Compressor,
        "xz": lambda: lzma.LZMACompressor(preset=0),
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }[name]()
    # One member, not many small ones: bzip2 makes 46 MB of 45 bytes, and zstd 128 KiB of 4.
    bomb = tmp_path / "bomb"
    bomb.write_bytes(b"".join(compressor.compress(b"a" * 1_000_000) for _ in range(300)) + compressor.flush())
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.check_output([sys.executable, str(script), str(bomb)], text=True, env=env)
    _, length, starts, growth_mib = map(int, output.split())
    assert (length, starts) == (300_000_000, 1)
    # zstd takes at most 16 MiB at a time, and a few copies of them.
    assert growth_mib < (96 if name == "zstd" else 24)


def test_pieces_are_those_of_the_text_however_it_is_stored(tmp_path: Path) -> None:
    data = ("短行\n" * 70_000 + "长 行" * 500_000 + "\n" + "尾" * 900_000).encode()
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data[:1_234_567]) + gzip.compress(data[1_234_567:]))
    plain, packed = (list(open_corpus([str(tmp_path / name)], registry=Registry())) for name in ("a.txt", "b.txt.gz"))
    assert plain == packed
    assert len(plain) > 5


def test_a_long_line_is_cut_before_a_space_and_never_within_a_character(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(600_000)]
    (tmp_path / "a.txt").write_text(" ".join(words) + "\nnext")
    pieces = list(open_corpus([str(tmp_path / "a.txt")], registry=Registry()))
    assert pieces.pop() == Text("next", lines=True)
    assert [piece.starts for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert len(pieces) > 3
    assert all(piece.text.startswith(" w") for piece in pieces[1:])
    assert "".join(piece.text for piece in pieces) == " ".join(words)
    (tmp_path / "b.txt").write_text("x" + "𠮷" * 600_000)
    pieces = list(open_corpus([str(tmp_path / "b.txt")], registry=Registry(), on_bad_text="error"))
    assert "".join(piece.text for piece in pieces) == "x" + "𠮷" * 600_000


@pytest.mark.parametrize(
    ("sentence", "first", "last"),
    [
        ("今天天气很好，我们去公园。", "今我", "，。"),
        # No mark stands last: the cut is not where the block happens to end.
        ("他说：“你好”，然后走了！", "他“你，然", "：“”，！"),
        ("今天天气很好\u3000我们去公园\u3000", "\u3000", "好园"),
    ],
)
def test_a_long_line_without_spaces_is_cut_beside_punctuation(
    tmp_path: Path, sentence: str, first: str, last: str
) -> None:
    (tmp_path / "a.txt").write_text(sentence * 100_000, encoding="utf-8")
    pieces = [text.text for text in open_corpus([str(tmp_path / "a.txt")], registry=Registry())]
    assert len(pieces) > 3
    assert {piece[0] for piece in pieces[1:]} <= set(first)
    assert {piece[-1] for piece in pieces[:-1]} <= set(last)
    assert "".join(pieces) == sentence * 100_000


def test_a_bad_byte_does_not_move_the_cut_into_a_word(tmp_path: Path) -> None:
    line = bytearray("今天天气很好，".encode() * 200_000)
    line[(1 << 20) - 100] = 0xFF
    (tmp_path / "a.txt").write_bytes(line)
    corpus = open_corpus([str(tmp_path / "a.txt")], registry=Registry(), on_bad_text="replace")
    pieces = [text.text for text in corpus]
    assert len(pieces) > 3
    assert {piece[-1] for piece in pieces} == {"，"}


def test_empty_lines_and_carriage_returns_do_not_reach_the_counter(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\n\n一\r\n\r\n\n二\n三\r".encode())
    texts = list(open_corpus([str(tmp_path / "a.txt")], registry=Registry()))
    assert texts == [Text("一\n二", lines=True), Text("三", lines=True)]
