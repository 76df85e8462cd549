"""Bad text is skipped, replaced or refused, and always reported."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from vocabkit.corpus import Corpus, open_corpus
from vocabkit.corpus.problems import Problem
from vocabkit.errors import BadTextError
from vocabkit.plugins import Registry

PLUGINS = Registry()
GOOD = "天地玄黄宇宙洪荒\n"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def corpus_of(path: Path, data: bytes, policy: str = "skip", **options: Any) -> Corpus:
    path.write_bytes(data)
    return open_corpus([str(path)], registry=PLUGINS, on_bad_text=policy, **options)


def lines_of(corpus: Corpus) -> list[str]:
    return [line for text in corpus for line in text.text.split("\n")]


@pytest.mark.parametrize(
    ("policy", "expected", "action"),
    [("skip", ["一", "四"], "skipped"), ("replace", ["一", "二\ufffd", "\ufffd三", "四"], "replaced by U+FFFD")],
)
def test_invalid_utf8_and_nul_cost_their_line_or_become_a_mark(
    tmp_path: Path, policy: str, expected: list[str], action: str
) -> None:
    data = "一\n二".encode() + b"\xff\n" + "\0三\n四".encode()
    corpus = corpus_of(tmp_path / "a.txt", data, policy)
    assert lines_of(corpus) == expected
    assert corpus.problems.summaries() == [
        f"{tmp_path}/a.txt: 1 line with invalid UTF-8 {action} (first at byte 7)",
        f"{tmp_path}/a.txt: 1 line with a NUL character {action} (first at byte 9)",
    ]
    assert corpus.problems.examples[0] == Problem(f"{tmp_path}/a.txt", "invalid UTF-8", 7, "invalid start byte")


def test_error_names_file_byte_and_what_to_do(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.txt", b"\n" * 1203 + b"a\xff", "error")
    with pytest.raises(
        BadTextError, match=r"a.txt: line with invalid UTF-8 at byte 1,204 .*--on-bad-text skip or repl"
    ):
        list(corpus)
    corpus = corpus_of(tmp_path / "a.jsonl", b'"a"\n{"text": 1}', "error")
    with pytest.raises(
        BadTextError, match=r"no text in the field 'text' at byte 4; mend it, or use --on-bad-text skip$"
    ):
        list(corpus)


def test_many_problems_are_counted_all_and_kept_in_part(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.txt", b"\xff\n" * 5000 + b"good")
    for _ in range(2):  # counts do not add up over readings
        assert lines_of(corpus) == ["good"]
        assert corpus.problems.summaries() == [
            f"{tmp_path}/a.txt: 5,000 lines with invalid UTF-8 skipped (first at byte 0)"
        ]
        assert len(corpus.problems.examples) == 20


def test_of_a_long_line_only_the_bad_piece_is_skipped(tmp_path: Path) -> None:
    line = bytearray("词 ".encode() * 1_000_000)
    line[2_000_000] = 0xFF
    corpus = corpus_of(tmp_path / "a.txt", bytes(line) + "\n另一行".encode())
    texts = list(corpus)
    assert [text.starts for text in texts] == [True] + [False] * (len(texts) - 2) + [True]
    assert texts[-1].text == "另一行"
    kept = sum(text.text.count("词") for text in texts)
    assert 700_000 < kept < 800_000
    assert corpus.problems.summaries() == [
        f"{tmp_path}/a.txt: 1 line with invalid UTF-8 skipped (first at byte 2,000,000)"
    ]


def test_the_line_behind_a_bad_last_piece_starts_a_document(tmp_path: Path) -> None:
    line = bytearray("词 ".encode() * 400_000)
    line[-1] = 0xFF
    texts = list(corpus_of(tmp_path / "a.txt", bytes(line) + "\n另一行\n".encode()))
    assert [(text.starts, text.text[-3:]) for text in texts] == [(True, "词 词"), (True, "另一行")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_byte_order_marks_tell_the_encoding_and_are_reported(tmp_path: Path, encoding: str, suffix: str) -> None:
    text = ("\ufeff" if encoding == "utf-16-be" else "") + '"今天"\n"𠮷"\n'
    corpus = corpus_of(tmp_path / f"a{suffix}", text.encode(encoding), "error")
    expected = ["今天", "𠮷"] if suffix == ".jsonl" else ['"今天"', '"𠮷"']
    assert lines_of(corpus) == expected
    name = "UTF-8 byte order mark removed" if encoding == "utf-8-sig" else f"read as {encoding[:6].upper()}, as"
    assert name in corpus.problems.summaries()[0]


def test_offsets_behind_a_byte_order_mark_are_those_of_the_file(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.txt", b"\xef\xbb\xbfab\xff")
    assert lines_of(corpus) == []
    assert corpus.problems.examples[1].offset == 5


@pytest.mark.parametrize(("policy", "expected"), [("skip", ["一", "三"]), ("replace", ["一", "二\ufffd", "三"])])
def test_invalid_utf16_falls_under_the_policy(tmp_path: Path, policy: str, expected: list[str]) -> None:
    data = "\ufeff一\n二".encode("utf-16-le") + b"\x00\xd8" + "\n三".encode("utf-16-le")
    assert lines_of(corpus_of(tmp_path / "a.txt", data, policy)) == expected
    truncated = corpus_of(tmp_path / "b.txt", "\ufeff一\n二".encode("utf-16-le")[:-1])
    assert lines_of(truncated) == ["一"]
    assert "1 line with invalid UTF-8 skipped" in truncated.problems.summaries()[1]


def test_bad_records_are_counted_by_kind(tmp_path: Path) -> None:
    records = [
        '{"text": "一"}',
        "{",
        '{"body": 1}',
        '{"text": null}',
        "[1]",
        "[" * 99_999,
        r'"\ud800"',
        r'"a\u0000"',
        '"二"',
    ]
    corpus = corpus_of(tmp_path / "a.jsonl", "\n".join(records).encode())
    assert lines_of(corpus) == ["一", "二"]
    counts = {kind: count for (_, kind), count in corpus.problems.totals.items()}
    assert counts == {
        "invalid JSON": 2, "no text in the field 'text'": 3, "invalid UTF-8": 1, "a NUL character": 1,
    }  # fmt: skip
    corpus = corpus_of(tmp_path / "a.jsonl", "\n".join(records).encode(), "replace")
    assert lines_of(corpus) == ["一", "\ufffd", "a\ufffd", "二"]


def test_a_record_beyond_64_mib_is_skipped_and_the_next_is_read(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.jsonl", b'"' + b"a" * (65 << 20) + b'"\n"next"')
    assert lines_of(corpus) == ["next"]
    assert corpus.problems.summaries() == [
        f"{tmp_path}/a.jsonl: 1 record with more than 64 MiB skipped (first at byte 0)"
    ]


@pytest.mark.parametrize(
    "line", ["word", "\t3", "word\t", "word\t0", "word\t-1", "word\t1.5", "word\t1_0", "a\tb\t3"]
)
def test_a_malformed_line_of_a_word_list_is_bad_text(tmp_path: Path, line: str) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", f"first\t1\n{line}\nlast\t2".encode())
    assert lines_of(corpus) == ["first", "last"]
    assert "1 line with no word, tab and positive count skipped (first at byte 8)" in corpus.problems.summaries()[0]


@pytest.mark.parametrize("line", ["word\t0", "word\t-1", "word\t1.5"])
def test_a_first_line_with_a_number_is_no_header(tmp_path: Path, line: str) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", f"{line}\nlast\t2".encode())
    assert lines_of(corpus) == ["last"]
    assert len(corpus.problems.examples) == 1


def random_lines() -> bytes:
    # Incompressible, so that many blocks of every format are written.
    numbers = random.Random(1)
    return "".join(f"{numbers.randbytes(30).hex()} 天地\n" for _ in range(20_000)).encode()


@pytest.mark.parametrize("name", COMPRESS)
def test_a_truncated_archive_keeps_its_good_prefix_and_is_reported(tmp_path: Path, name: str) -> None:
    text = random_lines()
    archive = COMPRESS[name](text)
    path = tmp_path / "a.txt"
    corpus = corpus_of(path, archive[: len(archive) * 2 // 3])
    found = "\n".join(lines_of(corpus)).encode()
    assert text.startswith(found[:-4])  # the last line may end within a character
    assert len(found) > len(text) // 2
    truncated, *rest = sorted(corpus.problems.summaries(), key=lambda line: "truncated" not in line)
    assert f"truncated {name} data after " in truncated
    assert truncated.endswith("bytes of text; only what comes before is used")
    assert all("1 line with invalid UTF-8" in line for line in rest)
    with pytest.raises(BadTextError, match=rf"truncated {name} data after [\d,]+ bytes of text; get the file again"):
        list(corpus_of(path, archive[:-1], "error"))


@pytest.mark.parametrize("max_part_bytes", [1000, 1 << 20])
def test_all_of_a_bzip2_block_is_kept_wherever_the_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_part_bytes: int
) -> None:
    monkeypatch.setattr("vocabkit.corpus.archive.MAX_PART_BYTES", max_part_bytes)
    text = "0123456789" * 25_000
    archive = bz2.compress(text.encode(), 1)
    lengths = []
    for num_bytes in range(10, len(archive) + 1):
        found = "".join(piece.text for piece in corpus_of(tmp_path / "a", archive[:num_bytes]))
        assert text.startswith(found)
        lengths.append(len(found))
    assert lengths == sorted(lengths)
    # A block holds 100,000 bytes less 19, and comes out whole or not at all.
    assert set(lengths) == {0, 99_981, 199_962, 250_000}


@pytest.mark.parametrize("name", COMPRESS)
def test_a_damaged_archive_keeps_its_good_prefix_and_is_reported(tmp_path: Path, name: str) -> None:
    text = random_lines()
    archive = bytearray(COMPRESS[name](text))
    middle = len(archive) // 2
    archive[middle : middle + 64] = bytes(64)
    corpus = corpus_of(tmp_path / "a.txt", bytes(archive))
    list(corpus)
    assert sum(f"{name} data after " in line for line in corpus.problems.summaries()) == 1
    # gzip may decode zeros to something before it notices: only lines that were not damaged are compared.
    assert lines_of(corpus)[:1000] == text.decode().split("\n")[:1000]
    with pytest.raises(BadTextError, match=r"get the file again|mend it"):
        list(corpus_of(tmp_path / "a.txt", bytes(archive), "error"))


def test_rubbish_behind_an_archive_is_reported(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.gz", gzip.compress(GOOD.encode()) + b"rubbish")
    assert lines_of(corpus) == [GOOD.strip()]
    assert corpus.problems.summaries() == [
        f"{tmp_path}/a.gz: damaged gzip data after 25 bytes of text; only what comes before is used"
    ]


@pytest.mark.parametrize("cut", ["head", "tail", "middle"])
def test_damaged_parquet_is_reported_and_read_up_to_there(tmp_path: Path, cut: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    rows = [f"{number} 行" for number in range(20_000)]
    parquet.write_table(pyarrow.table({"text": rows}), path, row_group_size=2000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    if cut == "middle":
        middle = len(data) // 2
        data[middle : middle + 20_000] = b"\xff" * 20_000
    else:
        data = data[100:] if cut == "head" else data[:-100]
    corpus = corpus_of(path, bytes(data))
    found = lines_of(corpus)
    assert found == rows[: len(found)]
    assert (len(found) >= 6000) == (cut == "middle")
    assert "damaged Parquet data" in corpus.problems.summaries()[0]
    with pytest.raises(BadTextError, match="damaged Parquet data"):
        list(corpus_of(path, bytes(data), "error"))


def test_parquet_strings_that_are_no_utf8_fall_under_the_policy(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": pyarrow.array([b"\xff", b"ok"], pyarrow.binary())}), path)
    data = path.read_bytes()
    corpus = corpus_of(path, data)
    assert lines_of(corpus) == ["ok"]
    assert "1 record with invalid UTF-8 skipped" in corpus.problems.summaries()[0]
    assert lines_of(corpus_of(path, data, "replace")) == ["\ufffd", "ok"]


def test_an_empty_file_is_no_problem(tmp_path: Path) -> None:
    for suffix in (".txt", ".jsonl.gz", ".tsv"):
        corpus = corpus_of(tmp_path / f"a{suffix}", b"")
        assert list(corpus) == []
        assert corpus.problems.summaries() == []


def test_the_field_is_chosen(tmp_path: Path) -> None:
    data = json.dumps({"text": "no", "body": "yes"}).encode()
    assert lines_of(corpus_of(tmp_path / "a.jsonl", data, field="body")) == ["yes"]


def test_a_long_line_whose_beginning_is_bad_does_not_go_on_with_the_line_before(tmp_path: Path) -> None:
    line = bytearray("词 ".encode() * 1_000_000)
    line[5] = 0xFF
    texts = list(corpus_of(tmp_path / "a.txt", "前一行\n".encode() + bytes(line)))
    assert texts[0].text.startswith("前一行")
    assert [text.starts for text in texts] == [True, True] + [False] * (len(texts) - 2)
