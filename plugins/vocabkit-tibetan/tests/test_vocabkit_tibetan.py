from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from vocabkit_tibetan.languages import CLASSICAL_TIBETAN, DZONGKHA, normalize, segment
from vocabkit_tibetan.pecha import read_pecha, without_print
from vocabkit_tibetan.rows import byte_weights, syllable_rows

from vocabkit import Language, VocabkitError, check_language
from vocabkit.cli import build_cli
from vocabkit.corpus import open_corpus
from vocabkit.plugins import load_plugins
from vocabkit.rows.request import OldRows, Pieces, RowRequest


@pytest.mark.parametrize("language", [DZONGKHA, CLASSICAL_TIBETAN], ids=lambda language: language.code)
def test_the_languages_keep_the_contract(language: Language) -> None:
    check_language(language)


def test_the_installed_plugin_is_found() -> None:
    assert "vocabkit_tibetan" in {point.value for point in entry_points(group="vocabkit")}


def test_the_plugin_offers_what_its_readme_says() -> None:
    registry = load_plugins()
    build_cli(registry)
    (plugin,) = (plugin for plugin in registry.plugins if plugin.module == "vocabkit_tibetan")
    assert plugin.error is None
    assert plugin.offers == [
        "language dz",
        "language xct",
        "corpus reader pecha",
        "initializer tibetan-syllable",
        "command tibetan",
    ]


def test_vowel_signs_come_in_one_order_and_there_is_one_tsheg() -> None:
    assert normalize("ཀ\u0f72\u0f71") == normalize("ཀ\u0f71\u0f72")
    assert normalize("ཁ\u0f0c") == "ཁ\u0f0b"


def test_syllables_end_with_their_tsheg() -> None:
    assert segment("རྫོང་ཁ། abc") == ["རྫོང་", "ཁ", "། abc"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[1b.2] ༄༅། །བོད་ཀྱི་", "བོད་ཀྱི་"),
        ("བོད་[23a]ཀྱི་", "བོད་ཀྱི་"),
        ("{p. 117} བོད།", "བོད།"),
        ("ཤོག་གྲངས་ ༡༢ [sic]", "ཤོག་གྲངས་ ༡༢ [sic]"),
    ],
)
def test_marks_of_the_print_are_left_out_and_nothing_else(line: str, text: str) -> None:
    assert without_print(line) == text


def test_lines_of_the_print_are_joined_and_empty_lines_end_a_document(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("[1a] ༄༅། །ཀ་\nཁ།\nག།\n\n\nང་\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("\ufeffཅ།\n[2b]\n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("ཆ།\n", encoding="utf-8")
    assert [text.text for text in read_pecha(str(tmp_path))] == ["ཅ།", "ཀ་ཁ། ག།", "ང་"]
    assert [text.text for text in read_pecha(str(tmp_path / "notes.md"))] == ["ཆ།"]


def test_a_long_paragraph_comes_in_pieces_of_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocabkit_tibetan.pecha.LINES_AT_A_TIME", 2)
    (tmp_path / "long.txt").write_text("ཀ་\nཁ་\nག་\n\nང་\n", encoding="utf-8")
    assert [(text.text, text.starts) for text in read_pecha(str(tmp_path))] == [
        ("ཀ་ཁ་", True),
        ("ག་", False),
        ("ང་", True),
    ]


def test_bytes_that_are_no_text_are_counted_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes("ཀ་\n".encode() + b"\xff\n\n" + "ཁ་\n".encode())
    corpus = open_corpus([f"pecha:{tmp_path}"], registry=load_plugins())
    assert [text.text for text in corpus] == ["ཁ་"]
    assert [problem.split(": ")[1] for problem in corpus.problems.summaries()] == [
        "1 text with invalid UTF-8 skipped"
    ]


def test_a_pecha_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(VocabkitError, match="nowhere does not exist; name a file"):
        list(read_pecha(str(tmp_path / "nowhere")))
    with pytest.raises(VocabkitError, match=r"holds no \.txt file"):
        list(read_pecha(str(tmp_path)))


def test_every_syllable_weighs_the_same_and_a_tsheg_a_quarter() -> None:
    weights = byte_weights("ཀ་ཁཁཁ".encode())
    # ཀ and its tsheg share 1 as 4 to 1, by three bytes each; the three letters of the other syllable share 1.
    assert weights.tolist() == pytest.approx([4 / 15] * 3 + [1 / 15] * 3 + [1 / 9] * 9)


def test_a_row_is_made_of_its_pieces_by_these_weights() -> None:
    old = np.eye(4, dtype=np.float32)
    pieces = ["ཀ".encode(), "་".encode(), "ཁ".encode()]
    request = RowRequest(
        "input",
        OldRows(old),
        Pieces.of([[0, 1], [0, 1, 2], []]),
        np.full((3, 2), -1),
        ("ཀ་".encode(), "ཀ་ཁ".encode(), b""),
        {piece: i for i, piece in enumerate(pieces)},
    )
    made = syllable_rows(request)
    assert made[0].tolist() == pytest.approx([0.8, 0.2, 0, 0])
    assert made[1].tolist() == pytest.approx([0.4, 0.1, 0.5, 0])
    assert made[2].tolist() == pytest.approx(old.mean(0).tolist())


def test_the_command_counts_syllables_of_any_corpus(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("[1a] ཀ་ཁ་\nཀ། གྷ་ཀ\u0f0c\n", encoding="utf-8")
    cli = build_cli(load_plugins())
    counted = CliRunner().invoke(cli, ["tibetan", "syllables", f"pecha:{tmp_path}", "--json", "--top", "1"])
    assert counted.exit_code == 0, counted.output
    assert json.loads(counted.output) == {
        "syllables": 5,
        "distinct": 3,
        "most_frequent": [{"syllable": "ཀ", "count": 3}],
    }
    printed = CliRunner().invoke(cli, ["tibetan", "syllables", str(tmp_path / "text.txt"), "--top", "2"])
    assert "5 syllables, 3 distinct" in printed.output
    assert "The most frequent 2 are 80.0% of all:" in printed.output
