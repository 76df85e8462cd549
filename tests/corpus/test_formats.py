"""Every format in every compression gives the same text, and what is named is found."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from vocabkit.corpus import Corpus, Text, open_corpus
from vocabkit.corpus.blocks import read_lines
from vocabkit.corpus.plain import read_plain
from vocabkit.corpus.problems import Problems
from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.hookspecs import hookimpl
from vocabkit.plugins import Registry, load_plugins

LINES = ["今天天气很好。", "a tab\tand a “quote”", "𠮷野家 😀", "the end"]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.fixture(scope="module")
def plugins() -> Registry:
    return load_plugins({})


def documents(corpus: Corpus) -> list[str]:
    return [line for text in corpus for line in (text.text.split("\n") if text.lines else [text.text])]


def opened(path: object, plugins: Registry, **options: Any) -> Corpus:
    return open_corpus([str(path)], registry=plugins, **options)


ENCODE: dict[str, Callable[[list[str]], bytes]] = {
    ".txt": lambda lines: "".join(f"{line}\n" for line in lines).encode(),
    ".jsonl": lambda lines: "\n".join(json.dumps({"id": 1, "text": line}) for line in lines).encode(),
    ".ndjson": lambda lines: "\r\n\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode(),
    ".tsv": lambda lines: "".join(f"{line.replace(chr(9), ' ')}\t3\n" for line in lines).encode(),
    ".log": lambda lines: "\r\n".join(lines).encode(),
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("format", ENCODE)
def test_every_format_in_every_compression_gives_the_same_documents(
    tmp_path: Path, plugins: Registry, format: str, compression: str
) -> None:
    path = tmp_path / f"a{format}{compression}"
    path.write_bytes(COMPRESS[compression](ENCODE[format](LINES)))
    corpus = opened(path, plugins)
    expected = [line.replace("\t", " ") for line in LINES] if format == ".tsv" else LINES
    assert documents(corpus) == expected
    assert corpus.problems.summaries() == []
    assert corpus.bytes_read == corpus.total_bytes == path.stat().st_size
    assert corpus.files == [path]
    assert {text.weight for text in corpus} == {3 if format == ".tsv" else 1}


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_concatenated_archives_are_one_text_whatever_the_name(
    tmp_path: Path, plugins: Registry, compression: str
) -> None:
    path = tmp_path / "archive.txt"
    path.write_bytes(b"".join(COMPRESS[compression](f"{line}\n".encode()) for line in LINES))
    corpus = opened(path, plugins)
    assert documents(corpus) == LINES
    assert corpus.problems.summaries() == []


def test_skippable_zstd_frames_and_padded_gzip_are_read(tmp_path: Path, plugins: Registry) -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    frame = COMPRESS[".zst"]("一\n".encode())
    (tmp_path / "a.zst").write_bytes(skippable + frame + skippable + frame)
    (tmp_path / "b.gz").write_bytes(gzip.compress("二\n".encode()) + bytes(5000) + gzip.compress("三".encode()))
    corpus = opened(tmp_path / "?.*", plugins)
    assert documents(corpus) == ["一", "一", "二", "三"]
    assert corpus.problems.summaries() == []


def test_a_text_that_begins_like_bzip2_is_text(tmp_path: Path, plugins: Registry) -> None:
    (tmp_path / "a.txt").write_text("BZh9 is no archive")
    assert documents(opened(tmp_path / "a.txt", plugins)) == ["BZh9 is no archive"]


def test_parquet_gives_the_column_and_counts_empty_rows(tmp_path: Path, plugins: Registry) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    values = [*LINES * 300, None]
    dictionary = pyarrow.array(values).dictionary_encode()
    table = pyarrow.table({"body": values, "dictionary": dictionary, "id": range(len(values))})
    parquet.write_table(table, path, row_group_size=500)
    for field in ("body", "dictionary"):
        corpus = opened(path, plugins, field=field)
        assert documents(corpus) == LINES * 300
        assert corpus.bytes_read == corpus.total_bytes
        assert "1 record with no text in the field" in corpus.problems.summaries()[0]
    with pytest.raises(VocabkitError, match="no column 'text'; choose one of body, dictionary, id with --field"):
        list(opened(path, plugins))
    with pytest.raises(VocabkitError, match="column 'id' holds int64, not text"):
        list(opened(path, plugins, field="id"))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, plugins: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(VocabkitError, match=r"needs pyarrow; pip install 'vocabkit\[data\]'"):
        list(opened(tmp_path / "a.parquet", plugins))


def test_a_word_list_may_have_a_header_and_weighs_its_words(tmp_path: Path, plugins: Registry) -> None:
    (tmp_path / "a.tsv").write_text("word\tcount\n你好\t12\n世界\t1\nword\tcount\n", encoding="utf-8")
    corpus = opened(tmp_path / "a.tsv", plugins)
    assert list(corpus) == [Text("你好", 12, starts=False), Text("世界", 1, starts=False)]
    assert corpus.problems.summaries() == [
        f"{tmp_path}/a.tsv: 1 line with no word, tab and positive count skipped (first at byte 30)"
    ]


def test_a_folder_gives_known_files_in_order_without_hidden_ones_and_loops(tmp_path: Path, plugins: Registry) -> None:
    for name in ("b/2.txt", "b/10.jsonl.gz", "a/x.tsv", ".hidden/h.txt", "b/.h.txt", "b/readme.md", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    corpus = opened(tmp_path, plugins)
    assert [str(Path(name).relative_to(tmp_path)) for name in corpus.names] == [
        "a/x.tsv", "b/10.jsonl.gz", "b/2.txt", "c.txt",
    ]  # fmt: skip


def test_globs_look_into_folders_and_take_any_suffix(tmp_path: Path, plugins: Registry) -> None:
    for name in ("a.txt", "x/b.txt", "x/y/c.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert documents(opened(tmp_path / "**", plugins)) == ["a.txt", "x/b.txt", "x/y/c.md"]
    assert documents(opened(tmp_path / "x" / "[ab].txt", plugins)) == ["x/b.txt"]


def test_a_file_named_twice_is_read_once_and_said(tmp_path: Path, plugins: Registry) -> None:
    path = tmp_path / "a.txt"
    path.write_text("一")
    corpus = open_corpus([str(path), str(tmp_path), f"{tmp_path}/../{tmp_path.name}/a.txt"], registry=plugins)
    assert documents(corpus) == ["一"]
    assert len(corpus.files) == 1
    assert [line.endswith("a.txt: named twice, read once") for line in corpus.problems.summaries()] == [True, True]


def test_what_is_not_there_is_one_clear_line(tmp_path: Path, plugins: Registry) -> None:
    for spec, message in (
        (f"{tmp_path}/none.txt", "none.txt' does not exist; give a file, a folder"),
        ("", "'' does not exist"),
        (f"{tmp_path}/*.txt", "matches no file; quote it"),
        (f"{tmp_path}", r"holds no text; it needs files that end in \.txt"),
        (r"C:\books\a.txt", "does not exist"),
    ):
        with pytest.raises(VocabkitError, match=message) as caught:
            opened(spec, plugins)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown corpus reader 'wordfrq'; did you mean 'wordfreq'"):
        opened("wordfrq:zh", plugins)
    with pytest.raises(VocabkitError, match="unknown policy 'ignore' for bad text; choose one of skip"):
        opened(__file__, plugins, on_bad_text="ignore")


def test_an_existing_file_with_a_colon_is_a_file(
    tmp_path: Path, plugins: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wordfreq:zh").write_text("一行")
    assert documents(opened("wordfreq:zh", plugins)) == ["一行"]


def test_stdin_is_read_once_and_its_size_is_unknown(plugins: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress("一\n二".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    corpus = open_corpus(["-", "-"], registry=plugins)
    assert documents(corpus) == ["一", "二"]
    assert (corpus.total_bytes, corpus.bytes_read, corpus.files) == (None, len(data), [])
    with pytest.raises(VocabkitError, match="stdin can be read only once"):
        list(corpus)


def test_a_pipe_is_read_like_a_file_but_is_none_for_a_manifest(tmp_path: Path, plugins: Registry) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        with pipe.open("wb", buffering=0) as file:
            for byte in gzip.compress("一\n二".encode()):
                file.write(bytes([byte]))
        os._exit(0)
    corpus = opened(pipe, plugins)
    assert documents(corpus) == ["一", "二"]
    assert (corpus.total_bytes, corpus.files) == (None, [])
    os.wait()


def test_wordfreq_gives_weighted_words_without_jieba_and_names_the_nearest_language(plugins: Registry) -> None:
    pytest.importorskip("wordfreq")
    texts = list(opened("wordfreq:zh", plugins, field="unused"))
    assert len(texts) > 100_000
    assert texts == list(opened("wordfreq:zh", plugins))
    weights = {text.text: text.weight for text in texts}
    assert weights["的"] > weights["中国"] > weights["词汇"] >= 1
    assert "jieba" not in sys.modules
    with pytest.raises(UnknownNameError, match="unknown language of wordfreq 'zhh'; did you mean 'zh'"):
        list(opened("wordfreq:zhh", plugins))


def test_a_data_set_is_streamed_with_its_field(tmp_path: Path, plugins: Registry) -> None:
    pytest.importorskip("datasets")
    rows = [{"body": "一"}, {"body": None}, {"body": "二\n三"}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    corpus = opened(f"hf:{tmp_path}", plugins, field="body")
    assert documents(corpus) == ["一", "二\n三"]
    assert corpus.problems.summaries() == [f"hf:{tmp_path}: 1 text with nothing in it skipped"]
    with pytest.raises(VocabkitError, match="has no field 'text'; choose one of body with --field"):
        list(opened(f"hf:{tmp_path}", plugins))
    with pytest.raises(VocabkitError, match=r"cannot be opened: .*; check its name"):
        list(opened(f"hf:{tmp_path}/none", plugins))
    with pytest.raises(VocabkitError, match="is no data set; write hf:NAME"):
        list(opened("hf:a:b:c:d", plugins))


def test_a_plugin_reader_is_held_to_the_rules_of_ours() -> None:
    class Plugin:
        @hookimpl
        def register_corpus_readers(self, register: Callable[..., None]) -> None:
            register("good", lambda argument: [Text(argument), Text("half \ud800"), Text("")])
            register("field", lambda argument, field: [Text(f"{argument} {field}")])
            register("bad", lambda argument: ["a string"])

    plugins = load_plugins({}, extra={"test": Plugin()})
    corpus = open_corpus(["good:一", "field:二"], registry=plugins, field="f")
    assert documents(corpus) == ["一", "二 f"]
    assert corpus.problems.summaries() == [
        "good:一: 1 text with invalid UTF-8 skipped",
        "good:一: 1 text with nothing in it skipped",
    ]
    assert corpus.total_bytes is None
    with pytest.raises(VocabkitError, match="bad:x gave 'a string'; its reader must yield Text"):
        list(open_corpus(["bad:x"], registry=plugins))


def blocks_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@example("中\r\r𠮷", 8)
@given(st.text(alphabet="a中𠮷 \n\r", max_size=60), st.integers(8, 20))
def test_pieces_join_to_the_lines_whatever_the_blocks(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vocabkit.corpus.plain.BLOCK_BYTES", size)
        joined = ""
        for piece in read_plain(blocks_of(text.encode(), size), "a", Problems("error")):
            joined += f"\n{piece.text}" if piece.starts else piece.text
    wanted = [line.removesuffix("\r") for line in text.split("\n")]
    assert [line for line in joined.split("\n") if line] == [line for line in wanted if line]


@given(st.lists(st.binary(max_size=12).filter(lambda b: b"\n" not in b and b"\r" not in b)), st.integers(1, 9))
def test_lines_keep_their_offsets_and_long_ones_come_as_none(lines: list[bytes], size: int) -> None:
    data = b"\n".join(lines)
    found = list(read_lines(blocks_of(data, size), 8))
    expected = []
    offset = 0
    for line in lines:
        if line:
            expected.append((offset, line if len(line) <= 8 else None))
        offset += len(line) + 1
    assert found == expected
