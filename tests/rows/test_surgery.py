"""Old rows keep every bit, in every architecture, however the checkpoint is laid out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vocabkit.errors import CheckpointError
from vocabkit.rows.checkpoint import CONFIG, INDEX, Checkpoint, open_checkpoint
from vocabkit.rows.surgery import NewRows, extend_checkpoint

VOCAB, WIDTH, ROWS, FIRST = 150, 16, 192, 140
TINY = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2 = {"vocab_size": VOCAB, "n_embd": WIDTH, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "mistral": ("Mistral", {}),
    "mixtral": ("Mixtral", {"num_local_experts": 2}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("Qwen3", {"tie_word_embeddings": True}),
    "gemma": ("Gemma", {}),
    "phi": ("Phi", {}),
    "gpt2": ("GPT2", {}),
    "neox": ("GPTNeoX", {}),
}


def make_model(name: str, folder: Path, dtype: str = "float32", max_shard_size: str = "5GB") -> Path:
    """Save a tiny real model with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    family, changed = ARCHITECTURES[name]
    config = getattr(transformers, f"{family}Config")(**(GPT2 if family == "GPT2" else TINY) | changed)
    model = transformers.AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    if family == "Phi":
        torch.nn.init.normal_(model.lm_head.bias)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)


def new_rows(checkpoint: Checkpoint, tokens: int = 30) -> dict[str, NewRows]:
    generator = np.random.default_rng(1)
    made = {}
    for tensor in checkpoint.row_tensors:
        shape = tensor.tensor.shape[1:]
        rows = generator.standard_normal((tokens, *shape)).astype(tensor.dtype)
        made[tensor.name] = NewRows(rows, np.full(shape, -1, tensor.dtype))
    if checkpoint.tied and checkpoint.head:
        made[checkpoint.head.name] = made[checkpoint.input.name]
    return made


def extended(base: Path, folder: Path, **options: Any) -> tuple[Checkpoint, dict[str, NewRows]]:
    folder.mkdir()
    checkpoint = open_checkpoint(base)
    new = new_rows(checkpoint)
    extend_checkpoint(checkpoint, folder, lambda: new, first=FIRST, rows=ROWS, **options)
    return open_checkpoint(folder), new


def row_hashes(checkpoint: Checkpoint) -> dict[str, str]:
    return {
        t.role: hashlib.sha256(np.asarray(t.values[:FIRST]).tobytes()).hexdigest() for t in checkpoint.row_tensors
    }


@pytest.mark.parametrize("max_shard_size", ["5GB", "8KB"], ids=["one", "sharded"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_old_rows_are_bit_identical_after_extend_reload_and_save(
    name: str, dtype: str, max_shard_size: str, tmp_path: Path
) -> None:
    import torch

    base = make_model(name, tmp_path / "base", dtype, max_shard_size)
    before = open_checkpoint(base)
    assert (len(before.shards) > 1) == (max_shard_size == "8KB")
    after, new = extended(base, tmp_path / "extended")
    assert after.rows == ROWS
    assert after.tied == before.tied
    model = load(tmp_path / "extended")
    assert model.config.get_text_config().vocab_size == ROWS
    assert model.get_input_embeddings().weight.shape == (ROWS, WIDTH)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == before.tied
    made = model.get_input_embeddings().weight[FIRST : FIRST + 30].detach().float().numpy()
    assert np.array_equal(made, new[before.input.name].tokens.astype(np.float32))
    model.save_pretrained(tmp_path / "again")
    assert row_hashes(before) == row_hashes(after) == row_hashes(open_checkpoint(tmp_path / "again"))
    # The base's own padding stays where no new token took it: none here, for 140 + 30 > 150.
    assert np.all(after.input.values[FIRST + 30 :].astype(np.float32) == -1)
    ids = torch.arange(FIRST)[None]
    with torch.no_grad():
        assert torch.equal(load(base)(ids).logits[..., :FIRST], model(ids).logits[..., :FIRST])


def test_new_tokens_take_the_padding_of_the_base_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    base = make_model("qwen2", tmp_path / "base")
    before = open_checkpoint(base)
    (tmp_path / "extended").mkdir()
    extend_checkpoint(before, tmp_path / "extended", lambda: new_rows(before, 4), first=FIRST, rows=VOCAB)
    after = open_checkpoint(tmp_path / "extended")
    for old, new in zip(before.row_tensors, after.row_tensors, strict=True):
        assert np.array_equal(old.values[:FIRST], new.values[:FIRST])
        assert np.array_equal(old.values[FIRST + 4 :], new.values[FIRST + 4 :])
        assert not np.array_equal(old.values[FIRST : FIRST + 4], new.values[FIRST : FIRST + 4])


def test_everything_else_is_copied_byte_for_byte(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", max_shard_size="8KB")
    (base / "LICENSE").write_text("terms")
    (base / "tokenizer.json").write_text("{}")
    (base / "pytorch_model.bin").write_text("pickle")
    extended(base, tmp_path / "extended")
    before, after = (
        {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}
        for folder in (base, tmp_path / "extended")
    )
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert name in ("model.embed_tokens.weight", "lm_head.weight") or np.array_equal(value, after[name])
    assert (tmp_path / "extended" / "LICENSE").read_text() == "terms"
    assert not (tmp_path / "extended" / "tokenizer.json").exists()
    assert not (tmp_path / "extended" / "pytorch_model.bin").exists()
    index = json.loads((tmp_path / "extended" / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in after.values())


def test_untouched_shards_can_be_linked(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", max_shard_size="8KB")
    after, _ = extended(base, tmp_path / "extended", link=True)
    touched = {tensor.header.path.name for tensor in after.row_tensors}
    for name in after.shards:
        assert (tmp_path / "extended" / name).samefile(base / name) == (name not in touched)


@pytest.mark.parametrize("body", ["U8", "F8_E4M3"])
def test_a_quantised_body_stays_as_it_is(body: str, tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", "bfloat16")
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    packed = (
        np.arange(192, dtype=np.uint8).reshape(24, 8)
        if body == "U8"
        else tensors[name].astype(ml_dtypes.float8_e4m3fn)
    )
    tensors |= {name: packed, f"{name}.absmax": np.ones(6, np.float32)}
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    after, _ = extended(base, tmp_path / "extended")
    shard = after.shards["model.safetensors"]
    place = shard.tensors[name]
    assert place.dtype == body
    assert shard.path.read_bytes()[place.start : place.end] == packed.tobytes()
    assert after.rows == ROWS


def test_a_nested_config_grows_too(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    renamed = {name.replace("model.", "model.language_model.", 1): value for name, value in tensors.items()}
    save_file(renamed, base / "model.safetensors")
    config = json.loads((base / CONFIG).read_text())
    nested = {"model_type": "x", "architectures": ["XForConditionalGeneration"], "text_config": config}
    (base / CONFIG).write_text(json.dumps(nested))
    extended(base, tmp_path / "extended")
    assert json.loads((tmp_path / "extended" / CONFIG).read_text())["text_config"]["vocab_size"] == ROWS


# --- bad input: one line that names the file and the mend ---------------------------------------------------


def change_config(base: Path, **changed: Any) -> None:
    config = json.loads((base / CONFIG).read_text()) | changed
    (base / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def change_index(base: Path, change: Callable[[dict[str, str]], None]) -> None:
    index = json.loads((base / INDEX).read_text())
    change(index["weight_map"])
    (base / INDEX).write_text(json.dumps(index))


def missing_shard(base: Path) -> None:
    next(base.glob("*.safetensors")).unlink()


def truncated_shard(base: Path) -> None:
    path = next(base.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-5])


def only_pickle(base: Path) -> None:
    for path in (*base.glob("*.safetensors"), base / INDEX):
        path.unlink()
    (base / "pytorch_model.bin").write_bytes(b"x")


BAD: list[tuple[Callable[[Path], None], str]] = [
    (missing_shard, r"is missing, .*index.json names it; fetch it again"),
    (truncated_shard, r"is cut off: .*; fetch it again"),
    (only_pickle, r"pytorch_model.bin is a pickle.*convert it"),
    (lambda base: change_config(base, vocab_size=99), r"says vocab_size 99, and .* has 150 rows; correct"),
    (lambda base: change_config(base, vocab_size=None), r"does not say vocab_size"),
    (lambda base: change_config(base, tie_word_embeddings=True), r"says tie_word_embeddings true, and .* differs"),
    (lambda base: (base / CONFIG).write_text("{"), r"config.json is not valid JSON"),
    (lambda base: (base / CONFIG).unlink(), r"config.json does not exist"),
    (lambda base: (base / INDEX).write_text('{"weight_map": {}}'), r"has no weight_map"),
    (lambda base: change_index(base, lambda m: m.pop("model.norm.weight")), r"does not name model.norm.weight"),
    (lambda base: change_index(base, lambda m: m.update({"ghost": m["lm_head.weight"]})), r"says that ghost is in"),
    (lambda base: change_index(base, lambda m: m.update({"x": "../x.safetensors"})), r"outside the folder"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_bad_checkpoints_are_one_clear_line(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", max_shard_size="8KB")
    damage(base)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(base)
    assert str(base) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_head_that_is_said_to_be_there_must_be_there(tmp_path: Path) -> None:
    base = make_model("llama-tied", tmp_path / "base")
    change_config(base, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match="says tie_word_embeddings false, and no shard holds a head"):
        open_checkpoint(base)


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_model("llama", tmp_path / "base")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("vocabkit.rows.surgery.shutil.disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match="free some, choose another --output, or save space with --link"):
        extended(base, tmp_path / "extended")
    assert not list((tmp_path / "extended").iterdir())


FULL = """
import sys
from pathlib import Path
import numpy as np
from vocabkit.errors import VocabkitError
from vocabkit.files import whole_folder
from vocabkit.manifest import changed_files, read_manifest, write_manifest
from vocabkit.rows import surgery
from vocabkit.rows.checkpoint import open_checkpoint
base, disk = open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2])

def extend(tokens, rows):
    with whole_folder(disk / "out", force=True) as folder:
        new = {}
        for t in base.row_tensors:
            shape = t.tensor.shape[1:]
            new[t.name] = surgery.NewRows(np.ones((tokens, *shape), t.dtype), np.zeros(shape, t.dtype))
        sums = surgery.extend_checkpoint(base, folder, lambda: new, first=140, rows=rows)
        write_manifest(folder, "extend", arguments={"rows": rows}, inputs=[],
                       checksums={name: "xxh3_128:" + s for name, s in sums.items()})

extend(30, 192)
# Another program fills the disk after the look at how much is free.
surgery._check_space = lambda *arguments: None
try:
    extend(40_000, 41_024)
except VocabkitError as error:
    print(error)
manifest = read_manifest(disk / "out")
assert manifest["arguments"]["rows"] == 192 and not changed_files(disk / "out", manifest)
assert [path.name for path in disk.iterdir()] == ["out"], list(disk.iterdir())
"""


def in_a_small_disk(disk: Path, options: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a file system of its own mounted at `disk`; skip where mounting is not allowed."""
    disk.mkdir()
    mount = f"mount -t tmpfs -o {options} none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespaces; run as root or enable user namespaces")
    inside = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    return subprocess.run(inside, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shards", ["5GB", "8KB"])
def test_a_disk_that_fills_while_weights_are_written_keeps_the_old_folder(shards: str, tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", max_shard_size=shards)
    done = in_a_small_disk(
        tmp_path / "disk", "size=2m", sys.executable, "-c", FULL, str(base), str(tmp_path / "disk")
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no space left on the disk of")
    assert done.stdout.count("\n") == 1


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vocabkit", "extend", "--lang", "zh", "--size", "50"]
    disk = tmp_path / "disk"
    done = in_a_small_disk(disk, "ro,size=2m", *command, "-o", str(disk / "out"))
    assert done.returncode == 1
    assert "Read-only file system; choose another --output" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from vocabkit.files import whole_folder
from vocabkit.manifest import changed_files, read_manifest, write_manifest
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.rows.surgery import NewRows, extend_checkpoint
import numpy as np
base, output, kills = open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])

def extend(value):
    with whole_folder(output, force=True) as folder:
        new = {}
        for t in base.row_tensors:
            shape = t.tensor.shape[1:]
            new[t.name] = NewRows(np.full((30, *shape), value, t.dtype), np.zeros(shape, t.dtype))
        sums = extend_checkpoint(base, folder, lambda: new, first=140, rows=192)
        write_manifest(folder, "extend", arguments={"value": value}, inputs=[],
                       checksums={name: "xxh3_128:" + s for name, s in sums.items()})

start = time.perf_counter()
extend(0)
took = time.perf_counter() - start
generator, last, replaced, killed = random.Random(0), 0, 0, 0
for value in range(1, kills + 1):
    child = os.fork()
    if child == 0:
        extend(value)
        os._exit(0)
    time.sleep(generator.uniform(0, 1.3 * took))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += os.WIFSIGNALED(status)
    manifest = read_manifest(output)
    assert manifest is not None and not changed_files(output, manifest), value
    found = manifest["arguments"]["value"]
    assert found in (last, value), (found, last, value)
    rows = np.asarray(open_checkpoint(output).input.values[140:170])
    assert (rows == found).all()
    replaced += found == value
    last = found
extend(-1)
left = [p.name for p in output.parent.iterdir() if p.name.startswith(".")]
print(killed, replaced, left)
"""


def test_a_kill_at_200_random_instants_leaves_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base", max_shard_size="8KB")
    command = [sys.executable, "-c", KILLS, str(base), str(tmp_path / "out"), "200"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    killed, replaced, left = run.stdout.split(maxsplit=2)
    # Both happened often: kills before the exchange, and runs that were through with it.
    assert int(killed) > 100
    assert 10 < int(replaced) < 190
    assert left.strip() == "[]"
