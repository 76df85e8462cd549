"""Whole runs through the command line: what trains, what is saved, and how it goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from runs import files_of, metrics, newest, vocabkit, vocabkit_json  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny_models import tiny  # noqa: E402

Extended = Callable[..., Path]
SMALL = ("--block-size", 32, "--batch-size", 4, "--micro-batch", 2)
PARTS = ("trained.safetensors", "optimizer.safetensors", "state.json")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text is tokenised once for all tests."""
    return tmp_path_factory.mktemp("cache")


def train(model: Path, data: Path, run: Path, cache: Path, *more: object, code: int | None = 0) -> Any:
    arguments = ("train", model, "--data", data, "--cache", cache, "-o", run, *SMALL, *more)
    return vocabkit(*arguments, code=code)


def weights_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stage", ["rows", "pretrain"])
def test_only_what_was_chosen_changes_and_fusing_keeps_what_the_run_says(
    tied: bool, stage: str, extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    model, run, fused = extended(tied), tmp_path / "run", tmp_path / "fused"
    train(model, chinese_file, run, cache, "--stage", stage, "--steps", 6, "--rows-learning-rate", 0.01)
    trained = load_file(newest(run) / "trained.safetensors")
    names = {"rows.input"} | (set() if tied else {"rows.head"})
    assert {name for name in trained if name.startswith("rows.")} == names
    if stage == "pretrain":
        assert len(trained) == len(names) + 2 * 7 * 2
        assert all(value.abs().sum() > 0 for value in trained.values()), "the adapter is not empty"
    found = vocabkit_json("fuse", run, "-o", fused)["fused"]
    assert found["mean_kl"] < found["tolerance"] == 1e-5
    before, after = weights_of(model), weights_of(fused)
    base = json.loads((model / "vocabkit.json").read_text())["base"]["size"]
    rows = {"model.embed_tokens.weight"} | (set() if tied else {"lm_head.weight"})
    assert before.keys() == after.keys()
    for name, value in before.items():
        if name in rows:
            assert torch.equal(value[:base], after[name][:base])
            changed = (value[base:] != after[name][base:]).any(1)
            # What is read changes only where a token occurred; every logit is in every loss, and weights decay.
            all_change = tied or "head" in name or stage == "pretrain"
            assert changed.all() if all_change else 20 < changed.sum() < len(changed)
        elif stage == "rows" or "proj" not in name:
            assert torch.equal(value, after[name]), name
        else:
            assert not torch.equal(value, after[name]), name
    plain = transformers.AutoModelForCausalLM.from_pretrained(fused)
    assert (plain.lm_head.weight is plain.model.embed_tokens.weight) == tied
    assert json.loads((fused / "vocabkit.json").read_text())["base"]["size"] == base


def test_a_run_learns_and_says_so(
    extended: Extended, chinese_file: Path, english_file: Path, cache: Path, tmp_path: Path
) -> None:
    found = vocabkit_json(
        "train", extended(), "--data", f"zh={chinese_file}", "--data", f"en={english_file}", "--mix", "en=0.3",
        "--stage", "pretrain", "--learning-rate", 0.02, "--rows-learning-rate", 0.05, "--steps", 12, *SMALL,
        "--eval-target", chinese_file, "--eval-base", english_file, "--eval-lines", 20, "--eval-every", 6,
        "--cache", cache, "-o", tmp_path / "run",
    )  # fmt: skip
    assert found["ended"] == "done"
    assert found["after"]["target"] < found["before"]["target"] * 0.98
    assert found["after"]["base"] < found["before"]["base"] * 1.02
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(13))
    assert lines[0]["evaluated"] == found["before"]
    assert lines[12]["evaluated"] == found["after"]
    assert "evaluated" in lines[6]
    assert "evaluated" not in lines[5]
    sources = [line["sources"] for line in lines[1:]]
    assert sum(one.get("en", 0) for one in sources) > 5
    assert all(sum(one.values()) == 4 for one in sources)
    assert all(line["tokens"] > 50 and line["bytes"] > 50 and 0 < line["gradient_norm"] < 100 for line in lines[1:])
    assert any(line["new_tokens"] > 0.2 for line in lines[1:])


def test_bits_per_byte_of_training_are_those_of_bench(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(chinese_file.read_text(encoding="utf-8").splitlines()[:10]), encoding="utf-8")
    found = vocabkit_json(
        "train", extended(), "--data", few, "--stage", "rows", "--steps", 1, "--block-size", 512,
        "--eval-target", few, "--cache", cache, "-o", tmp_path / "run",
    )  # fmt: skip
    (row,) = vocabkit_json("bench", "perplexity", extended(), "--text", few, "--context", 512)["rows"]
    assert found["before"]["target"] == pytest.approx(row["bits_per_byte"], rel=1e-5)


def test_accumulating_is_one_large_batch(extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path) -> None:
    logged = []
    for micro_batch in (1, 2, 4):
        run = tmp_path / str(micro_batch)
        train(extended(False), chinese_file, run, cache, "--stage", "pretrain", "--dropout", 0, "--steps", 3,
              "--micro-batch", micro_batch)  # fmt: skip
        logged.append([line["loss"] for line in metrics(run)])
    for one in logged[1:]:
        assert one == pytest.approx(logged[0], rel=1e-5)


@pytest.fixture(scope="session")
def uninterrupted(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    train(extended(False), chinese_file, run, cache, *LONG)
    return run


LONG = ("--stage", "pretrain", "--steps", 9, "--save-every", 2, "--eval-every", 3)


def assert_same_run(run: Path, other: Path) -> None:
    assert newest(run).name == newest(other).name
    assert files_of(newest(run), PARTS) == files_of(newest(other), PARTS)
    assert metrics(run) == metrics(other)


def test_the_same_arguments_give_the_same_run(
    extended: Extended, chinese_file: Path, cache: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    train(extended(False), chinese_file, tmp_path / "run", cache, *LONG)
    assert_same_run(tmp_path / "run", uninterrupted)
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["00000008", "00000009"]


def test_a_stopped_run_goes_on_bit_for_bit(
    extended: Extended, chinese_file: Path, cache: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(extended(False), chinese_file, run, cache, *LONG, "--stop-after", 3)
    assert newest(run).name == "00000003"
    train(extended(False), chinese_file, run, cache, *LONG, "--resume")
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first(
    number: int, extended: Extended, chinese_file: Path, cache: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begun(extended(False), chinese_file, run, cache)
    wait_for(lambda: len(metrics_lines(run)) >= 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume goes on" in out
    saved = int(newest(run).name)
    assert saved == len(metrics_lines(run)) < 9
    train(extended(False), chinese_file, run, cache, *LONG, "--resume")
    assert_same_run(run, uninterrupted)


def begun(model: Path, data: Path, run: Path, cache: Path, *more: object) -> subprocess.Popen[str]:
    command = ["train", model, "--data", data, "--cache", cache, "-o", run, *SMALL, *LONG, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "vocabkit", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def metrics_lines(run: Path) -> list[str]:
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_of_other_arguments_is_not_gone_on_with(
    extended: Extended, chinese_file: Path, english_file: Path, cache: Path, tmp_path: Path
) -> None:
    run, model = tmp_path / "run", extended()
    train(model, chinese_file, run, cache, "--stage", "rows", "--steps", 2)
    again = train(model, chinese_file, run, cache, "--stage", "rows", "--steps", 2, code=1)
    assert "holds a run of 2 steps; go on with --resume, or start anew with --force" in again.stderr
    other = train(model, chinese_file, run, cache, "--stage", "rows", "--steps", 2, "--seed", 1, "--resume", code=1)
    assert "was started with settings seed = 0, not 1" in other.stderr
    text = train(model, english_file, run, cache, "--stage", "rows", "--steps", 2, "--resume", code=1)
    assert "was started with data target" in text.stderr
    base = train(extended(False), chinese_file, run, cache, "--stage", "rows", "--steps", 2, "--resume", code=1)
    assert "is not the model that" in base.stderr
    nothing = train(model, chinese_file, tmp_path / "none", cache, "--stage", "rows", "--resume", code=1)
    assert "holds no run to resume" in nothing.stderr
    train(model, chinese_file, run, cache, "--stage", "rows", "--steps", 1, "--force")
    assert newest(run).name == "00000001"


def test_text_that_changed_in_between_is_refused(
    extended: Extended, chinese_file: Path, english_file: Path, cache: Path, tmp_path: Path
) -> None:
    run, text = tmp_path / "run", tmp_path / "a=b.txt"
    text.write_bytes(chinese_file.read_bytes())
    arguments = ("--stage", "rows", "--steps", 3, "--eval-base", english_file, "--eval-lines", 2)
    train(extended(), text, run, cache, *arguments, "--stop-after", 2)
    other = train(extended(), text, run, cache, *arguments[:-2], "--eval-lines", 3, "--resume", code=1)
    assert "was started with other evaluated: base changed" in other.stderr
    with text.open("a", encoding="utf-8") as file:
        file.write("又一行。\n")
    changed = train(extended(), text, run, cache, *arguments, "--resume", code=1)
    assert "was started with other text: target changed" in changed.stderr


def test_two_processes_do_not_train_one_run(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begun(extended(False), chinese_file, run, cache)
    wait_for(lambda: len(metrics_lines(run)) >= 1)
    refused = train(extended(False), chinese_file, run, cache, *LONG, "--resume", code=1)
    assert "another process trains" in refused.stderr
    process.kill()
    process.communicate()


def test_metrics_go_to_a_logger_that_is_installed(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    written = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert Path(folder) == tmp_path / "run" / "tensorboard"

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append(("closed", 0))

    module = types.ModuleType("torch.utils.tensorboard.writer")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    with patch.dict(sys.modules, {"torch.utils.tensorboard": module, module.__name__: module}):
        train(extended(), chinese_file, tmp_path / "run", cache, "--stage", "rows", "--steps", 2,
              "--log-to", "tensorboard")  # fmt: skip
    assert {("loss", 1), ("loss", 2), ("sources/target", 2), ("closed", 0)} <= set(written)


def test_a_loss_that_is_no_number_stops_and_keeps_what_was_good(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    failed = train(
        extended(), chinese_file, run, cache, "--stage", "rows", "--steps", 9, "--save-every", 1, "--warmup", 0,
        "--rows-learning-rate", 1e30, "--clip", 0, code=1,
    )  # fmt: skip
    assert "the loss is nan" in failed.stderr or "the loss is inf" in failed.stderr
    assert "the checkpoint of step" in failed.stderr
    assert "lower the learning rate" in failed.stderr
    assert len(failed.stderr.strip().splitlines()[-1]) < 400
    assert newest(run).is_dir()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)),) * 2)
from vocabkit.cli import main
main()
"""


def test_memory_that_runs_out_says_what_to_change(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    arguments = [
        "train",
        extended(),
        "--data",
        chinese_file,
        "--cache",
        cache,
        "-o",
        tmp_path / "run",
        "--stage",
        "rows",
    ]
    arguments += ["--steps", 1, "--block-size", 500, "--batch-size", 8192, "--micro-batch", 8192]
    # Enough to load everything, and not for four million tokens at a time.
    command = [sys.executable, "-c", LIMITED, str(6 << 30), *map(str, arguments)]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1, failed.stderr
    assert "memory ran out with passes of 8192 sequences of 500; use --micro-batch 4096" in failed.stderr


def test_the_guard_stops_when_the_base_language_degrades(
    extended: Extended, chinese_file: Path, english_file: Path, cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # A model that has learned some English has something to lose.
    more = ("--learning-rate", 0.05, "--warmup", 0, "--eval-base", english_file, "--eval-lines", 3, "--eval-every", 1)
    guarded = train(
        extended(), chinese_file, run, cache, "--stage", "pretrain", "--steps", 40, *more,
        "--max-base-regression", 0.0001, code=1,
    )  # fmt: skip
    assert "Stopped: the base text takes" in guarded.stdout
    assert int(newest(run).name) < 40
    assert "--eval-base" in train(extended(), chinese_file, run, cache, "--stage", "rows",
                                  "--max-base-regression", 0.1, code=2).stderr  # fmt: skip


def test_without_torch_it_says_what_to_install(extended: Extended, chinese_file: Path, tmp_path: Path) -> None:
    with patch("vocabkit.model.load.find_spec", lambda name: None):
        for arguments in (("train", extended(), "--data", chinese_file, "--stage", "rows"), ("fuse", tmp_path)):
            failed = vocabkit(*arguments, "-o", tmp_path / "run", code=1)
            assert "needs torch and transformers; run `pip install 'vocabkit[train]'`" in failed.stderr
            assert len(failed.stderr.strip().splitlines()) == 1


def test_a_block_longer_than_a_table_of_positions(
    smollm2_folder: Path, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    model = tiny(tmp_path / "gpt2", smollm2_folder, tied=True, model_type="gpt2")
    how = ("--stage", "rows", "--rows", "all", "--block-size", 600)
    refused = train(model, chinese_file, tmp_path / "run", cache, *how, code=1)
    assert "has 512 positions, and no more can be made; use --block-size 512" in refused.stderr


def test_a_model_without_new_rows(extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path) -> None:
    base = extended().parent / "base"
    refused = train(base, chinese_file, tmp_path / "run", cache, "--stage", "rows", code=1)
    assert "has no new rows" in refused.stderr
    assert not (tmp_path / "run").exists()
    train(base, chinese_file, tmp_path / "adapters", cache, "--stage", "pretrain", "--rows", "none", "--steps", 2)
    trained = load_file(newest(tmp_path / "adapters") / "trained.safetensors")
    assert not any(name.startswith("rows.") for name in trained)
    train(base, chinese_file, tmp_path / "all", cache, "--stage", "rows", "--all-rows", "--steps", 1)
    assert len(load_file(newest(tmp_path / "all") / "trained.safetensors")["rows.input"]) == 49152


def test_vocabulary_and_weights_that_do_not_match(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (extended().parent / "base").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    for path in extended().iterdir():
        if path.name.startswith(("tokenizer", "vocabkit")):
            (model / path.name).write_bytes(path.read_bytes())
    for more in (("--stage", "rows"), ("--stage", "rows", "--all-rows")):
        refused = train(model, chinese_file, tmp_path / "run", cache, *more, "--force", code=1)
        assert "the tokenizer has 49,252 tokens and the weights 49,152 rows" in refused.stderr
        assert "extend the model again" in refused.stderr


def test_instructions_train_the_response(extended: Extended, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "sft.jsonl"
    records = [{"instruction": f"说 {i}", "output": f"好的，{i}。"} for i in range(30)]
    path.write_text("\n".join(json.dumps(one) for one in [*records, {"instruction": "no output"}]), encoding="utf-8")
    more = ("--stage", "instruct", "--template", "alpaca", "--epochs", 1, "--block-size", 128)
    done = train(extended(), path, tmp_path / "run", cache, *more)
    assert "1 record with no output" in done.stderr
    lines = metrics(tmp_path / "run")
    assert len(lines) == 8, "a pass over 30, four at a time"
    sizes = [len(f"好的，{i}。".encode()) for i in range(30)]
    assert min(sizes) * 4 <= lines[0]["bytes"] <= max(sizes) * 4


def test_four_bits_train_and_fuse(extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(extended(False), chinese_file, run, cache, "--stage", "pretrain", "--quantize", "nf4", "--steps", 4,
          "--learning-rate", 0.01, "--warmup", 0)  # fmt: skip
    lines = metrics(run)
    assert lines[-1]["loss"] < lines[0]["loss"]
    found = vocabkit_json("fuse", run, "-o", tmp_path / "fused")["fused"]
    assert found["mean_kl"] < 1e-5


def test_kill_9_at_any_instant_is_as_if_nothing_had_been(
    extended: Extended, chinese_file: Path, cache: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """A few kills here; VOCABKIT_KILLS=100 for as many as the claim is about."""
    run, model = tmp_path / "run", extended(False)
    generator = random.Random(int(os.environ.get("VOCABKIT_KILLS", "0")))
    kills = int(os.environ.get("VOCABKIT_KILLS", "4"))
    resume: tuple[object, ...] = ()
    for _ in range(kills):
        process = begun(model, chinese_file, run, cache, *resume)
        wait_for(lambda process=process: process.poll() is not None or (run / "vocabkit.json").exists())
        time.sleep(generator.uniform(2, 9))
        process.kill()
        process.communicate()
        resume = ("--resume",)
        if newest_or_none(run) == "00000009":
            assert_same_run(run, uninterrupted)
            for path in sorted(run.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            resume = ()
    train(model, chinese_file, run, cache, *LONG, *resume)
    assert_same_run(run, uninterrupted)


def newest_or_none(run: Path) -> str | None:
    folder = run / "checkpoints"
    found = sorted(p.name for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
    return found[-1] if found else None


# Dies at the n-th call of one function: before and after each file of a checkpoint, around its appearance, and while
# old ones are removed and metrics are written.
DYING = """
import os, sys
from importlib import import_module
target, count = sys.argv.pop(1), int(sys.argv.pop(1))
module, name = target.split(":")
owner = import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
whole, calls = getattr(owner, last), []
def dying(*arguments, **options):
    calls.append(0)
    if len(calls) == count:
        os.kill(os.getpid(), 9)
    return whole(*arguments, **options)
setattr(owner, last, dying)
from vocabkit.cli import main
main()
"""
POINTS = [
    ("safetensors.torch:save_file", 1), ("safetensors.torch:save_file", 2), ("safetensors.torch:save_file", 5),
    ("vocabkit.files:_flush", 1), ("vocabkit.files:_flush", 3), ("vocabkit.files:_swap", 1),
    ("vocabkit.files:_swap", 2),
    ("vocabkit.train.checkpoints:shutil.rmtree", 3), ("vocabkit.train.metrics:append", 4),
    ("vocabkit.train.run:write_whole", 1),
]  # fmt: skip


@pytest.mark.parametrize(("target", "count"), POINTS)
def test_kill_9_at_each_point_of_writing(
    target: str, count: int, extended: Extended, chinese_file: Path, cache: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run, model = tmp_path / "run", extended(False)
    arguments = ["train", model, "--data", chinese_file, "--cache", cache, "-o", run, *SMALL, *LONG]
    command = [sys.executable, "-c", DYING, target, str(count), *map(str, arguments)]
    died = subprocess.run(command, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    begun_at_all = (run / "vocabkit.json").is_file()
    train(model, chinese_file, run, cache, *LONG, *(["--resume"] if begun_at_all else []))
    assert_same_run(run, uninterrupted)
    left = [path.name for path in run.rglob("*") if "partial" in path.name]
    assert not left


def test_one_pass_learns_every_token_once(
    extended: Extended, chinese_file: Path, cache: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(chinese_file.read_text(encoding="utf-8").splitlines()[:6]), encoding="utf-8")
    learned = {}
    for batch in (1, 7):
        run = tmp_path / str(batch)
        train(extended(), few, run, cache, "--stage", "rows", "--epochs", 1, "--batch-size", batch)
        learned[batch] = [(line["tokens"], line["bytes"]) for line in metrics(run) if "loss" in line]
    assert sum(tokens for tokens, _ in learned[7]) == sum(tokens for tokens, _ in learned[1])
    assert sum(size for _, size in learned[7]) == sum(size for _, size in learned[1])
    # The last step is a smaller one, and not a part of a second pass.
    assert len(learned[1]) % 7 != 0
    assert learned[7][-1][0] < learned[7][0][0]
