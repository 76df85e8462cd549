"""The command line as a user meets it: real processes, real files, real mistakes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sentencepiece

VOCABKIT = [sys.executable, "-m", "vocabkit"]


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VOCABKIT, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


def fails(code: int, message: str, *arguments: str, **options: str) -> None:
    """Run a command that must fail with one readable line."""
    done = run(*arguments, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert done.stdout == ""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, chinese_lines: list[str]) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "reviews.txt"
    path.write_text("\n".join(chinese_lines[:4000]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The first command of the README, run once, with --json."""
    folder = tmp_path_factory.mktemp("starter") / "llm-zh"
    done = run("extend", "--lang", "zh", "-o", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_first_command_of_the_readme_extends_and_proves(starter: tuple[Path, dict[str, object]]) -> None:
    folder, report = starter
    assert {path.name for path in folder.iterdir()} == {
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocabkit.json",
        "vocabulary.jsonl",
    }
    assert report["family"] == "sentencepiece_bpe"
    assert (report["base_size"], report["new_tokens"], report["size"]) == (32_000, 12_000, 44_000)
    assert report["padded_size"] == 44_032
    assert report["certificate"]["ok"] is True  # type: ignore[index]
    names = [check["name"] for check in report["certificate"]["checks"]]  # type: ignore[index]
    assert names == ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G12"]
    before, after = report["encode_length"]  # type: ignore[misc]
    assert after["tokens_per_character"] < 0.8 < before["tokens_per_character"]


def test_verify_and_bench_take_the_output(starter: tuple[Path, dict[str, object]], corpus: Path) -> None:
    folder, _ = starter
    verified = run("verify", str(folder), "--against", "starter", "--json")
    assert verified.returncode == 0
    document = json.loads(verified.stdout)
    assert document["ok"] is True
    assert {"name", "ok", "detail"} <= set(document["checks"][0])
    measured = run("bench", "encode-length", "starter", str(folder), "--text", str(corpus), "--json")
    rows = json.loads(measured.stdout)["rows"]
    assert [row["tokenizer"] for row in rows] == ["starter", str(folder)]
    assert rows[1]["ratio"] == pytest.approx(rows[1]["tokens"] / rows[0]["tokens"], abs=1e-4)
    text = corpus.read_text(encoding="utf-8").replace("\n", "")
    assert rows[0]["characters"] == len(text)
    assert rows[0]["bytes"] == len(text.encode())
    assert rows[0]["new_tokens_used"] is None
    assert 0 < rows[1]["new_tokens_used"] < 1


def test_bench_speed_times_every_engine(corpus: Path) -> None:
    done = run("bench", "speed", "starter", "--text", str(corpus), "--lang", "zh", "--runs", "2", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [row["engine"] for row in rows] == ["sentencepiece", "tokenizers"]
    assert all(row["encode_mb_per_second"] > 0 and row["learn_seconds"] > 0 for row in rows)


def test_the_result_loads_where_vocabkit_is_not_installed(starter: tuple[Path, dict[str, object]]) -> None:
    pytest.importorskip("transformers")
    code = (
        "import sys\nsys.modules['vocabkit'] = None\nfrom transformers import AutoTokenizer\n"
        "t = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "text = '人工智能是计算机科学。 Hello, 2024!'\nids = t(text)['input_ids']\n"
        "print(len(t), ids[0], t.decode(ids, skip_special_tokens=True) == text)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(starter[0])], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["44000", "1", "True"]


def test_learn_then_extend_with_a_part_of_it(corpus: Path, tmp_path: Path) -> None:
    learned = run("learn", "--lang", "zh", "--corpus", str(corpus), "--size", "600", "-o", str(tmp_path / "v"))
    assert learned.returncode == 0, learned.stderr
    assert f"Next: vocabkit extend --lang zh --base starter --vocabulary {tmp_path / 'v'}" in learned.stdout
    assert len((tmp_path / "v" / "vocabulary.jsonl").read_text(encoding="utf-8").splitlines()) == 600
    common = ("extend", "--lang", "zh", "--vocabulary", str(tmp_path / "v"))
    done = run(*common, "--size", "200", "-o", str(tmp_path / "out"), "--json")
    assert json.loads(done.stdout)["new_tokens"] == 200
    direct = ("extend", "--lang", "zh", "--corpus", str(corpus), "--size", "200")
    run(*direct, "-o", str(tmp_path / "direct"))
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (
        tmp_path / "direct" / "tokenizer.model"
    ).read_bytes()
    fails(1, "holds only 600 tokens; use --size 600", *common, "--size", "700", "-o", str(tmp_path / "x"))


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path, chinese_lines: list[str]) -> None:
    path = tmp_path / "text.txt"
    # Enough text that the workers really get some of it.
    path.write_text("\n".join(chinese_lines * 4), encoding="utf-8")
    for workers in ("1", "2", "8"):
        arguments = ("--corpus", str(path), "--size", "300", "--workers", workers, "-o", str(tmp_path / workers))
        done = run("learn", "--lang", "zh", *arguments)
        assert done.returncode == 0, done.stderr
    contents = {(tmp_path / workers / "vocabulary.jsonl").read_bytes() for workers in ("1", "2", "8")}
    assert len(contents) == 1


def test_a_recipe_reports_what_it_breaks(tmp_path: Path) -> None:
    from support import data_file

    base, vocabulary = data_file("llama-tokenizer.model"), data_file("chinese_sp.model")
    arguments = ("--recipe", "chinese-llama", "--base", str(base), "--vocabulary", str(vocabulary))
    done = run("extend", *arguments, "-o", str(tmp_path / "out"))
    assert done.returncode == 0
    assert "Certificate FAILED: G4, G5, G6, G7" in done.stdout
    assert "345 of 17,953 new tokens can never be produced" in done.stdout
    assert run("verify", str(tmp_path / "out"), "--against", str(base)).returncode == 1
    # The examples of README.zh.md.
    before, after = (
        sentencepiece.SentencePieceProcessor(str(path)) for path in (base, tmp_path / "out/tokenizer.model")
    )
    assert before.encode("2023 breath", out_type=str) == ["▁", "2", "0", "2", "3", "▁breath"]
    assert after.encode("2023 breath", out_type=str) == ["▁20", "23", "▁br", "eat", "h"]
    for word in ("越来越", "意大利"):
        assert not after.is_unknown(after.piece_to_id(word))
        assert word not in after.encode(f"他{word}好", out_type=str)
        halves = [(word[:cut], word[cut:]) for cut in range(1, len(word))]
        assert all(any(after.is_unknown(after.piece_to_id(half)) for half in pair) for pair in halves)


def test_an_existing_output_is_refused_before_any_work(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    arguments = ("extend", "--lang", "zh", "--corpus", str(corpus), "--size", "50", "-o", str(tmp_path / "out"))
    start = time.monotonic()
    fails(1, "out exists; choose another --output", *arguments)
    fails(1, "was not written by vocabkit", *arguments, "--force")
    assert time.monotonic() - start < 20
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = run("extend", "--lang", "zh", "--size", "1000", "-o", str(tmp_path / "out"), "--dry-run", "--json")
    assert json.loads(done.stdout)["padded_size"] == 33_024
    assert not (tmp_path / "out").exists()


def test_mistakes_get_one_line_that_says_what_to_do(corpus: Path, tmp_path: Path) -> None:
    out = ("-o", str(tmp_path / "out"))
    zh = ("extend", "--lang", "zh", *out)
    fails(1, "nowhere/at/all does not exist; name a tokenizer file", *zh, "--base", "nowhere/at/all")
    fails(1, "did you mean 'zh'?", "extend", "--lang", "zhh", *out)
    fails(2, "name the language with --lang", "extend", *out)
    fails(1, "'missing.txt' does not exist; give a file, a folder", *zh, "--corpus", "missing.txt")
    fails(1, "unknown corpus reader 'wordfrek'; did you mean 'wordfreq'?", *zh, "--corpus", "wordfrek:zh")
    fails(
        1,
        "unknown merger 'rankd'; did you mean 'ranked'?",
        *zh,
        "--corpus",
        str(corpus),
        "--size",
        "9",
        "--merger",
        "rankd",
    )
    fails(2, "exclude each other", *zh, "--corpus", str(corpus), "--vocabulary", "v")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    fails(1, "the corpus holds no Chinese text", *zh, "--corpus", str(empty))
    english = tmp_path / "english.txt"
    english.write_text("There is no Chinese here.\n" * 100)
    fails(1, "the corpus holds no Chinese text", *zh, "--corpus", str(english))
    fails(1, "use --size", *zh, "--corpus", str(corpus), "--size", "9000000")
    assert not (tmp_path / "out").exists()


def test_broken_bases_get_one_line(tmp_path: Path) -> None:
    zh = ("extend", "--lang", "zh", "-o", str(tmp_path / "out"))
    broken = tmp_path / "tokenizer.json"
    broken.write_text('{"model": {"type": "BPE", "vocab": {}, "merges": ["broken merge here"]}}')
    fails(1, "fetch the file again", *zh, "--base", str(broken))
    model = tmp_path / "tokenizer.model"
    model.write_bytes(b"\x00\x01\x02 not a model")
    fails(1, "is not a SentencePiece model", *zh, "--base", str(model))
    (tmp_path / "empty").mkdir()
    fails(1, "holds no tokenizer.json", *zh, "--base", str(tmp_path / "empty"))


def test_stdin_is_a_corpus(chinese_lines: list[str], tmp_path: Path) -> None:
    text = "\n".join(chinese_lines[:500])
    arguments = ("--corpus", "-", "--size", "100", "-o", str(tmp_path / "v"))
    assert run("learn", "--lang", "zh", *arguments, stdin=text, PYTHONUTF8="1").returncode == 0


def test_kill_9_leaves_no_half_written_output(corpus: Path, tmp_path: Path) -> None:
    arguments = ["extend", "--lang", "zh", "--corpus", str(corpus), "--size", "100", "-o", str(tmp_path / "out")]
    start = time.monotonic()
    subprocess.run([*VOCABKIT, *arguments, "--force"], check=True, capture_output=True)
    duration = time.monotonic() - start
    shutil.rmtree(tmp_path / "out")
    generator = random.Random(3)
    for _ in range(6):
        process = subprocess.Popen([*VOCABKIT, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(generator.random() * duration)
        process.kill()
        process.wait()
        if (tmp_path / "out").exists():
            assert (tmp_path / "out" / "vocabkit.json").is_file()
            assert run("verify", str(tmp_path / "out"), "--against", "starter").returncode == 0
            shutil.rmtree(tmp_path / "out")
    # The next run cleans up after the killed ones.
    assert run(*arguments).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_one_line_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    """A real file system of one megabyte, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespaces; run as root or enable user namespaces")
    command = " ".join([*VOCABKIT, "extend --lang zh --size 100", f"--corpus {corpus}", f"-o {disk}/out"])
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {command}; code=$?; ls -A {disk}; exit $code"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no space left on the disk" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ctrl_c_is_exit_code_130(corpus: Path, tmp_path: Path) -> None:
    import signal

    arguments = ["extend", "--lang", "zh", "--corpus", str(corpus), "--size", "100", "-o", str(tmp_path / "out")]
    process = subprocess.Popen([*VOCABKIT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "Proving G3" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
