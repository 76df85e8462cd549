"""`vocabkit ab` on a model of 70,000 parameters: what is held equal, what is kept, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from adaptation import small_model
from runs import metrics, newest, vocabkit, vocabkit_json

from vocabkit.ab.compute import flops_per_token, parameters_of
from vocabkit.ab.documents import first_bytes, ordered
from vocabkit.measure.paired import difference_over_seeds
from vocabkit.vocabulary.probes import code_lines, english_lines

BLOCK, BATCH, STEPS = 64, 8, 3
SMALL = (
    "--block-size", BLOCK, "--batch-size", BATCH, "--micro-batch", BATCH, "--learning-rate", 0.01,
    "--rows-learning-rate", 0.01, "--dropout", 0, "--steps-limit", STEPS,
)  # fmt: skip
ARMS = ("own", "extended", "extended-compute", "random")


@dataclass(frozen=True)
class Small:
    """A base, its extension, and texts."""

    base: Path
    extended: Path
    zh: Path
    zh_held: Path
    en: Path
    en_held: Path

    def ab(self, output: Path, *more: object, replay: bool = True) -> tuple[object, ...]:
        return (
            "ab", self.base, self.extended, "--data", self.zh, "--eval", self.zh_held, "--eval-base", self.en_held,
            *SMALL, *(("--replay", self.en) if replay else ()), "-o", output, *more,
        )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def by_torch(plain_kernels: None) -> None:
    """Every test here."""


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, chinese_lines: list[str]) -> Small:
    folder = tmp_path_factory.mktemp("ab")

    def lines(name: str, found: list[str]) -> Path:
        path = folder / name
        path.write_text("\n".join(found) + "\n", encoding="utf-8")
        return path

    english = list(dict.fromkeys([*english_lines(), *code_lines()]))
    # Clauses: documents that are short beside what a run reads.
    clauses = re.split(r"[。，！？\s]+", "，".join(chinese_lines[:300]))
    chinese = list(dict.fromkeys(clause for clause in clauses if len(clause) > 6))[:1200]
    en, zh = lines("en.txt", english[16:]), lines("zh.txt", chinese[20:])
    base = small_model(folder, en, 32, 600)
    vocabkit(
        "extend", "--lang", "zh", "--base", base, "--corpus", zh, "--size", 100, "--init", "copy", "-o", folder / "zh"
    )
    return Small(base, folder / "zh", zh, lines("zh.held.txt", chinese[:20]), en, lines("en.held.txt", english[:16]))


@pytest.fixture(scope="session")
def experiment(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ab-whole") / "ab"
    return folder, vocabkit_json(*small.ab(folder, "--random-init"))


def scores(folder: Path, arm: str, seed: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / "scores" / arm / f"{seed}.json").read_text())
    return found


def test_arms_of_a_seed_read_the_same_documents_in_the_same_order(
    experiment: tuple[Path, dict[str, Any]], small: Small
) -> None:
    folder, _ = experiment
    every = small.zh.read_text(encoding="utf-8").splitlines()
    texts = []
    for seed in range(3):
        data = {}
        for arm in ARMS:
            run = json.loads((folder / "arms" / arm / str(seed) / "vocabkit.json").read_text())
            assert run["settings"]["seed"] == seed
            assert not run["settings"]["shuffle"]
            data[arm] = run["data"]
        assert data["own"] == data["extended"] == data["random"]
        assert data["own"]["replay"] == data["extended-compute"]["replay"]
        read = {
            arm: [json.loads(line)["text"] for line in Path(data[arm]["target"][0]).read_text().splitlines()]
            for arm in ("own", "extended-compute")
        }
        # At equal compute the same documents come first, then further ones.
        assert len(read["extended-compute"]) > len(read["own"]) > 1
        assert read["extended-compute"][: len(read["own"])] == read["own"]
        assert read["extended-compute"] == ordered(every, seed)[: len(read["extended-compute"])]
        texts.append(read["own"])
    assert texts[0] != texts[1] != texts[2]


def test_bytes_and_compute_are_equal_where_they_should_be(experiment: tuple[Path, dict[str, Any]]) -> None:
    folder, found = experiment
    arms = {arm["name"]: arm["trained"] for arm in found["arms"]}
    assert set(arms) == set(ARMS)
    for name in ("extended", "random"):
        assert arms[name]["bytes"] == pytest.approx(arms["own"]["bytes"], rel=0.05)
        assert arms[name]["tokens"] < 0.9 * arms["own"]["tokens"]
    # A block and a document are a part of so little text.
    assert arms["extended-compute"]["compute"] == pytest.approx(1, abs=0.15)
    assert arms["extended-compute"]["compute"] > arms["extended"]["compute"] + 0.1
    assert arms["own"]["steps"] <= STEPS + 1
    for name in ARMS:
        steps = metrics(folder / "arms" / name / "0")
        assert sum(step["tokens"] for step in steps if "loss" in step) > 0
        assert all(sum(step["sources"].values()) <= BATCH for step in steps if "loss" in step)


def test_figures_are_those_of_the_scores_and_of_bench(
    experiment: tuple[Path, dict[str, Any]], small: Small, tmp_path: Path
) -> None:
    folder, found = experiment
    sizes = [len(line.encode()) for line in small.zh_held.read_text(encoding="utf-8").splitlines()]
    own, extended = ([scores(folder, arm, seed)["target"] for seed in range(3)] for arm in ("own", "extended"))
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert arms["own"]["target"] == pytest.approx(sum(map(sum, own)) / 3 / sum(sizes))
    wanted = difference_over_seeds(own, extended, sizes)
    first = found["comparisons"][0]
    assert (first["arm"], first["against"], first["readout"]) == ("extended", "own", "target")
    assert (first["difference"], first["low"], first["high"]) == (wanted.value, wanted.low, wanted.high)
    assert first["verdict"] == {"below": "better", "above": "worse"}.get(wanted.against(), "not resolved")
    # The same run, fused and measured by the other command.
    vocabkit("fuse", folder / "arms" / "extended" / "0", "-o", tmp_path / "fused")
    asked = ("bench", "perplexity", tmp_path / "fused", "--text", small.zh_held, "--context", BLOCK)
    (row,) = vocabkit_json(*asked)["rows"]
    assert row["bits_per_byte"] == pytest.approx(arms["extended"]["per_seed"]["target"][0], rel=1e-4)


def test_the_tables_say_how_sure_it_is_and_at_what_scale(experiment: tuple[Path, dict[str, Any]]) -> None:
    folder, found = experiment
    readouts = {(one["arm"], one["against"], one["readout"]) for one in found["comparisons"]}
    assert ("random", "extended", "target") in readouts
    assert ("extended", "own", "characters_per_second") in readouts
    for one in found["comparisons"]:
        if one["low"] is None:
            assert (one["readout"], one["difference"], one["verdict"]) == ("switched", 0, "not resolved")
            continue
        assert one["low"] <= one["difference"] <= one["high"]
        assert (one["verdict"] == "not resolved") == (one["low"] <= 0 <= one["high"])
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert f"a model of {found['scale']['parameters']:,} parameters" in text
    assert "from 3 seeds" in text
    assert "Even the sign of a difference need not be the same" in text
    speed = found["speed"]["each"]
    assert speed["extended"]["characters_per_token"] > 1.2 * speed["base"]["characters_per_token"]
    assert json.loads((folder / "results.json").read_text()) == found


def test_a_killed_experiment_goes_on_and_a_finished_arm_is_not_trained_again(
    experiment: tuple[Path, dict[str, Any]], small: Small, tmp_path: Path
) -> None:
    folder = tmp_path / "ab"
    command = small.ab(folder, "--seeds", 2)
    process = subprocess.Popen([sys.executable, "-m", "vocabkit", *map(str, command)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    # Within the second run: the first is scored, this one has begun.
    while not (folder / "arms" / "extended" / "0" / "metrics.jsonl").is_file() and time.monotonic() < until:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = newest(folder / "arms" / "own" / "0") / "trained.safetensors"
    written = finished.stat().st_mtime_ns
    assert not (folder / "results.json").exists()
    found = vocabkit_json(*command)
    assert finished.stat().st_mtime_ns == written
    assert [arm["name"] for arm in found["arms"]] == ["own", "extended", "extended-compute"]
    for arm in ARMS[:3]:
        for seed in range(2):
            assert scores(folder, arm, seed) == scores(experiment[0], arm, seed), (arm, seed)
    again = vocabkit_json(*command)
    assert again == found


def test_another_experiment_is_not_put_into_the_same_folder(
    experiment: tuple[Path, dict[str, Any]], small: Small, tmp_path: Path
) -> None:
    folder, _ = experiment
    done = vocabkit(*small.ab(folder, "--learning-rate", 0.02), code=1)
    said = f"error: {folder} was begun with other settings: learning_rate; use what it was begun with, another "
    assert done.stderr.splitlines()[-1] == f"{said}--output, or --force"
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("do not remove")
    done = vocabkit(*small.ab(other, "--force"), code=1)
    assert "is no experiment of vocabkit" in done.stderr
    assert (other / "thesis.txt").exists()


def refused(small: Small, output: Path, *more: object, code: int = 1, **changed: Path) -> str:
    """Return the one line that a command ends with; nothing may have been written."""
    done = vocabkit(*Small(**{**vars(small), **changed}).ab(output, *more), code=code)
    assert not output.exists()
    return done.stderr.splitlines()[-1].removeprefix("error: ").removeprefix("Error: ")


def test_bad_input_gets_one_line(small: Small, tmp_path: Path) -> None:
    output, few, mixed = tmp_path / "ab", tmp_path / "few.txt", tmp_path / "mixed.txt"
    few.write_text("一行\n" * 3, encoding="utf-8")
    assert "3 lines of held-out text; 8 at least are needed" in refused(small, output, zh_held=few)
    # Of content: another file, other spaces, one line of many.
    line = small.zh.read_text(encoding="utf-8").splitlines()[5]
    mixed.write_text(small.zh_held.read_text(encoding="utf-8") + f"  {line} \n", encoding="utf-8")
    found = refused(small, output, zh_held=mixed)
    assert found.startswith(f"1 of 21 lines of {mixed} are trained on too, the first is")
    assert line[:20] in found
    assert "are trained on too" in refused(small, output, en_held=small.en), "replay is trained on as well"
    assert "one seed says nothing of what chance does" in refused(small, output, "--seeds", 1)
    assert "no new rows, so nothing of it would be trained" in refused(
        small, output, "--stage", "rows", "--rows", "new"
    )
    assert "has no more tokens than" in refused(small, output, extended=small.base)
    done = vocabkit(*small.ab(output, "--mix", "0.1", replay=False), code=2)
    assert "--mix is the share of --replay" in done.stderr


def test_an_extension_of_another_base_is_refused(
    small: Small, smollm2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from tiny_models import tiny

    output = tmp_path / "ab"
    found = refused(small, output, base=tiny(tmp_path / "smollm2", smollm2_folder, tied=True))
    assert f"{small.extended} does not extend" in found
    # The same tokenizer, and weights that went on training: no test of the tokens would notice.
    moved = tmp_path / "moved"
    for name in ("model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"):
        shutil.copytree(small.base, moved)
        weights = load_file(moved / "model.safetensors")
        weights[name] = weights[name] + torch.tensor(1e-6)
        save_file(weights, moved / "model.safetensors", {"format": "pt"})
        assert f"was not made from the weights of {moved}: {name} differs" in refused(small, output, base=moved)
        shutil.rmtree(moved)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty} holds no model" in refused(small, output, base=empty)


def test_continuations_that_leave_the_language_are_counted(
    experiment: tuple[Path, dict[str, Any]], small: Small
) -> None:
    import transformers

    from vocabkit.ab.readouts import ANSWER_CHARACTERS, PROMPT_CHARACTERS, switching
    from vocabkit.measure.switches import expect
    from vocabkit.model.load import load_model
    from vocabkit.plugins import load_plugins
    from vocabkit.tokenizer import open_tokenizer

    folder, found = experiment
    assert found["readouts"]["switched"] == "continuations switched"
    assert found["not_measured"] == []
    assert all(len(scores(folder, arm, seed)["switched"]) == 20 for arm in ARMS for seed in range(3))
    for arm in found["arms"]:
        assert arm["switched"] == pytest.approx(sum(arm["per_seed"]["switched"]) / 3)
    # Continuations that never differ are no proof that they never will.
    assert all(one["low"] is None or one["low"] < one["high"] for one in found["comparisons"])
    readouts = [one["readout"] for one in found["comparisons"]]
    assert readouts.count("switched") == readouts.count("target") == 4
    # A base that has read nothing but English and code goes on in it, and every continuation is seen.
    lines = small.zh_held.read_text(encoding="utf-8").splitlines()
    expected = expect("zh", load_plugins({}).languages, scripts_only=True)
    score = switching(expected).score(load_model(small.base, device="cpu"), open_tokenizer(small.base), lines, BLOCK)
    written = [
        vocabkit_json(
            "generate", small.base, "--prompt", line[: min(PROMPT_CHARACTERS, len(line) // 2)], "--device", "cpu",
            "--max-new-tokens", 64,
        )["text"][:ANSWER_CHARACTERS]
        for line in lines[:4]
    ]  # fmt: skip
    has_latin = [float(bool(re.search("[A-Za-z]", text))) for text in written]
    assert score is not None
    # GPT-2's attention hands nothing on, so it cannot be decoded here.
    other = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=700, n_embd=32, n_layer=1, n_head=2))
    assert switching(expected).score(other, open_tokenizer(small.base), lines, BLOCK) is None
    assert all(mine <= theirs for mine, theirs in zip(score[:4], has_latin, strict=True))
    assert sum(score) > 0
    # Of the lines themselves: the Latin letters in their second halves.
    halves = [line[min(PROMPT_CHARACTERS, len(line) // 2) :][:ANSWER_CHARACTERS] for line in lines]
    most = sum(bool(re.search("[A-Za-z]", half)) for half in halves) / len(halves)
    assert 0 <= found["references"]["switched"] <= most
    assert "held-out lines themselves" in (folder / "results.md").read_text(encoding="utf-8")


def test_without_new_rows_to_train_the_base_trains_its_adapters(small: Small, tmp_path: Path) -> None:
    from vocabkit.ab.design import EXTENDED, OWN, Design
    from vocabkit.train.settings import settings_for

    design = Design(tmp_path, small.base, small.extended, settings_for("pretrain", None, {"rows": "new"}))
    assert design.settings_of(OWN, 0, 1.0).rows == "none"
    assert design.settings_of(EXTENDED, 0, 1.0).rows == "new"


def test_new_rows_are_drawn_at_random_and_old_ones_stay(
    experiment: tuple[Path, dict[str, Any]], small: Small
) -> None:
    import torch
    from safetensors.torch import load_file

    folder, _ = experiment
    base, extended = (load_file(path / "model.safetensors") for path in (small.base, small.extended))
    drawn = [load_file(folder / "random" / str(seed) / "model.safetensors") for seed in range(3)]
    name, old = "model.embed_tokens.weight", len(base["model.embed_tokens.weight"])
    for one in drawn:
        assert one[name].shape == extended[name].shape
        assert torch.equal(one[name][:old], base[name])
        assert float(one[name][old:].std()) == pytest.approx(0.02, rel=0.1)
        assert all(torch.equal(one[key], base[key]) for key in base if key != name)
    assert not torch.equal(drawn[0][name], drawn[1][name])


def test_a_token_costs_its_weights_and_the_extension_s_softmax(small: Small) -> None:
    base, extended = (flops_per_token(path, BLOCK) for path in (small.base, small.extended))
    rows = 64 * -(-700 // 64)
    assert extended - base == 6 * 32 * (rows - 600)
    body = parameters_of(small.base, body=True)
    assert base == 6 * (body + 600 * 32 + 4 * 32 * BLOCK)
    # Tied: one matrix.
    assert parameters_of(small.base) == body + 600 * 32


def test_a_text_is_cut_between_documents() -> None:
    assert first_bytes(["中文", "ab", "cd"], 8) == ["中文", "ab"]
    assert first_bytes(["中文", "ab", "cd"], 9) == ["中文", "ab"]
    assert first_bytes(["中文", "ab", "cd"], 10) == ["中文", "ab", "cd"]
    assert first_bytes(["中文", "ab", "cd"], 1) == ["中文"]
