"""What fusing and exporting give is what the run says, for whoever loads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from runs import newest, vocabkit, vocabkit_json  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from vocabkit.model.trained import base_of, read_trained  # noqa: E402
from vocabkit.train.fuse import fuse  # noqa: E402
from vocabkit.train.probe import difference, probe_ids, run_log_probs  # noqa: E402

Extended = Callable[..., Path]
Ran = Callable[..., Path]


@pytest.fixture(scope="module")
def ran(extended: Extended, chinese_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return a short run; its rates are such that everything changes a lot."""
    folder = tmp_path_factory.mktemp("runs")

    def get(name: str, *more: object, tied: bool = True) -> Path:
        run = folder / f"{name}-{tied}"
        if not run.exists():
            vocabkit(
                "train", extended(tied), "--data", chinese_file, "--cache", folder / "cache", "-o", run, "--steps", 3,
                "--block-size", 32, "--batch-size", 4, "--rows-learning-rate", 0.05, "--learning-rate", 0.05,
                "--warmup", 0, *more,
            )  # fmt: skip
        return run

    return get


def logits_of(model: Any, folder: Path) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=probe_ids(folder)).logits[0]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("form", ["modules-to-save", "trainable-tokens"])
@pytest.mark.parametrize("stage", ["rows", "pretrain"])
@pytest.mark.filterwarnings("ignore:.*checkpointing.*:FutureWarning")  # PEFT asks in transformers' older words
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_plain_peft_reads_the_adapter(
    stage: str, form: str, tied: bool, ran: Ran, extended: Extended, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    run = ran(stage, "--stage", stage, tied=tied)
    vocabkit("fuse", run, "--peft", form, "-o", tmp_path / "adapter")
    vocabkit("fuse", run, "-o", tmp_path / "fused")
    base = transformers.AutoModelForCausalLM.from_pretrained(extended(tied))
    before = logits_of(base, extended(tied)).clone()
    theirs = logits_of(peft.PeftModel.from_pretrained(base, tmp_path / "adapter"), extended(tied))
    fused = logits_of(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "fused"), extended(tied))
    assert (fused - before).abs().max() > 0.1
    assert torch.allclose(theirs, fused, atol=2e-4)


def test_several_runs_are_added_in_order(ran: Ran, extended: Extended, tmp_path: Path) -> None:
    first = ran("one", "--stage", "pretrain", "--rank", 4)
    second = ran("two", "--stage", "pretrain", "--targets", "q_proj,down_proj", "--rank", 8, "--seed", 1)
    found = vocabkit_json("fuse", first, second, "-o", tmp_path / "both")["fused"]
    assert found["mean_kl"] < 1e-5
    weights = load_file(tmp_path / "both" / "model.safetensors")
    old = load_file(extended() / "model.safetensors")
    one, two = read_trained(first), read_trained(second)
    layer = "model.layers.1.self_attn.q_proj"
    (a1, b1), (a2, b2) = one.adapters[layer], two.adapters[layer]
    expected = old[f"{layer}.weight"] + one.scale * b1 @ a1 + two.scale * b2 @ a2
    assert torch.allclose(weights[f"{layer}.weight"], expected, atol=1e-6)
    rows = weights["model.embed_tokens.weight"]
    assert torch.equal(rows[49152:], two.tensors["rows.input"]), "rows are those of the last run"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sums_are_rounded_once_and_within_the_tolerance(
    dtype: str, extended: Extended, chinese_file: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    halved(extended(False), model, getattr(torch, dtype))
    run = tmp_path / "run"
    vocabkit(
        "train", model, "--data", chinese_file, "--cache", tmp_path / "cache", "-o", run, "--stage", "pretrain",
        "--steps", 3, "--block-size", 32, "--batch-size", 4, "--dtype", "float32" if dtype == "float16" else dtype,
    )  # fmt: skip
    found = vocabkit_json("fuse", run, "-o", tmp_path / "fused")["fused"]
    assert found["mean_kl"] < found["tolerance"]
    with safe_open(tmp_path / "fused" / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {  # noqa: SIM118
            {"bfloat16": "BF16", "float16": "F16"}[dtype]
        }
    trained = read_trained(run)
    layer = "model.layers.0.mlp.up_proj"
    a, b = trained.adapters[layer]
    whole = load_file(model / "model.safetensors")[f"{layer}.weight"].float() + trained.scale * b @ a
    merged = load_file(tmp_path / "fused" / "model.safetensors")[f"{layer}.weight"]
    assert torch.equal(merged, whole.to(getattr(torch, dtype)))


def halved(folder: Path, target: Path, dtype: Any) -> None:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    weights = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}))


def test_rows_of_a_later_run_lie_over_those_of_an_earlier(ran: Ran, tmp_path: Path) -> None:
    whole, new = ran("all", "--stage", "rows", "--all-rows"), ran("rows", "--stage", "rows")
    found = vocabkit_json("fuse", whole, new, "-o", tmp_path / "both")["fused"]
    assert found["mean_kl"] < 1e-5
    rows = load_file(tmp_path / "both" / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(rows[:49152], read_trained(whole).tensors["rows.input"][:49152])
    assert torch.equal(rows[49152:], read_trained(new).tensors["rows.input"])


def test_what_is_read_is_not_replaced(ran: Ran, extended: Extended) -> None:
    run = ran("rows", "--stage", "rows")
    for target in (run, extended(), extended().parent, run / "inside"):
        refused = vocabkit("fuse", run, "--no-verify", "-o", target, "--force", code=1)
        assert "choose another --output" in refused.stderr
    assert newest(run).is_dir()


def test_a_fused_model_can_be_trained_further(ran: Ran, chinese_file: Path, tmp_path: Path) -> None:
    run = ran("rows", "--stage", "rows")
    vocabkit("fuse", run, "-o", tmp_path / "fused")
    vocabkit(
        "train", tmp_path / "fused", "--data", chinese_file, "--cache", tmp_path / "cache", "-o", tmp_path / "next",
        "--stage", "rows", "--steps", 1, "--block-size", 32, "--batch-size", 2,
    )  # fmt: skip
    assert len(load_file(newest(tmp_path / "next") / "trained.safetensors")["rows.input"]) == 49280 - 49152


def test_a_wrong_fusion_is_noticed(ran: Ran, extended: Extended, tmp_path: Path) -> None:
    trained = [read_trained(ran("pretrain", "--stage", "pretrain"))]
    base = base_of(trained, None)
    ids = probe_ids(base)
    expected = run_log_probs(trained, base, ids)
    fuse(trained, base, tmp_path / "fused")
    assert difference(expected, tmp_path / "fused", ids).mean < 1e-5
    with pytest.raises(Exception, match="differs from the run by"):
        difference(expected, extended(), ids)


def test_mixtral_is_fused_where_its_experts_lie_on_disk(
    smollm2_folder: Path, chinese_file: Path, tmp_path: Path
) -> None:
    from tiny_models import tiny

    base = tiny(
        tmp_path / "moe", smollm2_folder, tied=False, model_type="mixtral", num_local_experts=4, num_experts_per_tok=2
    )
    names = load_file(base / "model.safetensors").keys()
    run = tmp_path / "run"
    vocabkit(
        "train", base, "--data", chinese_file, "--cache", tmp_path / "cache", "-o", run,
        "--preset", "chinese-mixtral", "--steps", 2, "--block-size", 32,
        "--batch-size", 4, "--learning-rate", 0.05, "--warmup", 0,
    )  # fmt: skip
    found = vocabkit_json("fuse", run, "-o", tmp_path / "fused")["fused"]
    assert found["mean_kl"] < 1e-5
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "fused" / "model.safetensors")
    assert after.keys() == names
    changed = {name for name in names if not torch.equal(before[name], after[name])}
    assert any("gate" in name for name in changed)
    assert any("w2" in name or "down_proj" in name for name in changed)
    assert not any("norm" in name for name in changed)
    refused = vocabkit("fuse", run, "--peft", "trainable-tokens", "-o", tmp_path / "adapter", code=1)
    assert "adapts experts" in refused.stderr


def test_what_cannot_be_fused_is_one_line(ran: Ran, extended: Extended, tmp_path: Path) -> None:
    run = ran("rows", "--stage", "rows")
    assert "is no run" in vocabkit("fuse", extended(), "-o", tmp_path / "x", code=1).stderr
    other = vocabkit("fuse", run, "--base", extended(False), "-o", tmp_path / "x", code=1)
    assert "was not trained from" in other.stderr
    step = vocabkit("fuse", run, "--step", 99, "-o", tmp_path / "x", code=1)
    assert "has no checkpoint of step 99; it has" in step.stderr
    broken = tmp_path / "broken"
    for path in [p for p in run.rglob("*") if p.is_file()]:
        target = broken / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes()[: -10 if path.name == "trained.safetensors" else None])
    damaged = vocabkit("fuse", broken, "-o", tmp_path / "x", code=1)
    assert "trained.safetensors is damaged" in damaged.stderr
    assert not (tmp_path / "x").exists()
