"""`--pretokenizer` as a user meets it: a note, a choice, and a model that grows with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny

SENTENCES = (
    "यह किताब बहुत अच्छी है।", "यह कहानी बहुत पुरानी है।", "वह किताब मेज़ पर रखी है।", "बच्चे बाहर खेल रहे हैं।",
    "बच्चे किताब पढ़ रहे हैं।", "क्या तुम यह किताब पढ़ोगे?", "मेरे गाँव की नदी बहुत गहरी है।", "गाँव के बच्चे नदी पर खेल रहे हैं।",
)  # fmt: skip


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vocabkit", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, encoding="utf-8", check=False)


def fails(message: str, *arguments: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert done.stdout == ""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("corpus") / "hi.txt"
    path.write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def base(smollm2_folder: Path) -> str:
    return str(smollm2_folder)


def test_a_base_that_cuts_words_is_named_with_a_figure(base: str, corpus: str, tmp_path: Path) -> None:
    common = ("--lang", "hi", "--base", base, "--size", "30", "--json")
    done = run("learn", *common, "--corpus", corpus, "-o", str(tmp_path / "v"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["whole_words"]
    assert report["text"] == "corpus"
    assert report["words"] == 3 * sum(len(line.split()) for line in SENTENCES)
    assert report["base"] == report["output"] < 0.5
    notes = [line for line in done.stderr.splitlines() if "--pretokenizer extend" in line]
    assert len(notes) == 1
    assert f"leaves {report['base']:.0%} of {report['words']} Hindi words in one piece" in notes[0]
    # stdin cannot be read twice: the language's own samples are counted.
    done = run("learn", *common, "--corpus", "-", "-o", str(tmp_path / "w"), stdin="\n".join(SENTENCES * 3))
    assert json.loads(done.stdout)["whole_words"]["text"] == "samples"


def test_bases_that_cut_nothing_are_not(base: str, tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("我们的村庄很美丽，我们的河流很长。\n" * 3, encoding="utf-8")
    common = ("--lang", "zh", "--size", "4", "--corpus", str(path), "--json")
    done = run("learn", *common, "-o", str(tmp_path / "v"))
    assert json.loads(done.stdout)["whole_words"] is None
    done = run("learn", *common, "--base", base, "-o", str(tmp_path / "w"))
    assert json.loads(done.stdout)["whole_words"]["base"] == 1
    assert "in one piece" not in done.stderr


def test_learn_and_extend_and_verify(base: str, corpus: str, tmp_path: Path) -> None:
    words, out = str(tmp_path / "words"), str(tmp_path / "out")
    wide = ("--pretokenizer", "extend")
    learned = run("learn", "--lang", "hi", "--base", base, "--corpus", corpus, "--size", "80", *wide, "-o", words)
    assert learned.returncode == 0, learned.stderr
    assert f"--vocabulary {words} --pretokenizer extend -o" in learned.stdout
    fails(
        "was learned with --pretokenizer extend and does not fit --pretokenizer keep; use --pretokenizer extend here",
        "extend", "--lang", "hi", "--base", base, "--vocabulary", words, "-o", out,
    )  # fmt: skip
    done = run("extend", "--lang", "hi", "--base", base, "--vocabulary", words, *wide, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["certificate"]["ok"]
    assert report["whole_words"]["output"] == 1 > report["whole_words"]["base"]
    before, widened, after = report["encode_length"]
    assert [row["tokenizer"] for row in (before, widened, after)] == ["base", "widened base", "extended"]
    assert after["tokens"] < widened["tokens"]
    manifest = json.loads(Path(out, "vocabkit.json").read_text(encoding="utf-8"))
    assert manifest["pretokenizer"] == "extend"
    assert manifest["whole_words"] == report["whole_words"]
    verified = run("verify", out, "--against", base)
    assert verified.returncode == 0, verified.stdout
    assert "the base's pre-tokenizer extended" in verified.stdout


def test_what_cannot_be_extended_says_why(base: str, corpus: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    common = ("extend", "--pretokenizer", "extend", "--corpus", corpus, "-o", out)
    fails("is sentencepiece_bpe, which cuts no words by a pattern", *common, "--lang", "hi")
    fails("so there is nothing to extend; leave out", *common, "--lang", "am", "--base", base)
    assert not Path(out).exists()


def test_a_model_grows_with_it(smollm2_folder: Path, corpus: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = tiny(tmp_path / "model", smollm2_folder, tied=True)
    out = str(tmp_path / "out")
    done = run(
        "extend", "--lang", "hi", "--base", str(model), "--corpus", corpus, "--size", "60", "--init", "merge-tree",
        "--pretokenizer", "extend", "-o", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "ok   G10" in done.stdout
    words = 3 * sum(len(line.split()) for line in SENTENCES)
    assert f"-> 100% of {words} words of the corpus in one piece" in done.stdout
    assert "with the pre-tokenizer extended and no new token" in done.stdout
