"""Checkpoints in few bits: bitsandbytes reads them, and so do we without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from runs import vocabkit, vocabkit_json

from vocabkit.infer.load import Opening, open_engine
from vocabkit.model.linears import PackedLinear, linear_layers
from vocabkit.model.load import load_model
from vocabkit.rows.safetensors_file import read_header

MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen3_moe": {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 16,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
}  # fmt: skip
IDS = torch.tensor([[(7919 * i + 1) % 49000 for i in range(20)]])


def logits(model: object) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits.float()  # type: ignore[operator]
    return found


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean KL(first || second) of a token, nats."""
    one, two = first.log_softmax(-1), second.log_softmax(-1)
    return float((one.exp() * (one - two)).sum(-1).mean())


@pytest.mark.parametrize("double", [True, False])
def test_nf4_is_what_bitsandbytes_computes(double: bool, small: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder, out = small("qwen2"), tmp_path / "q4"
    found = vocabkit_json("quantize", folder, "-o", out, *([] if double else ["--no-double-quant"]))
    assert found["layers"] == 14
    ours = load_model(out, device="cpu")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out, device_map="cpu")
    assert type(theirs.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=1e-4, atol=1e-4)
    again = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    quantised_by_them = transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", quantization_config=again
    )
    if double:
        # On a CPU bitsandbytes rounds 1 scale of 1,000 to the second nearest of its 8 bits.
        assert apart(logits(quantised_by_them), logits(ours)) < 1e-5
    else:
        torch.testing.assert_close(logits(ours), logits(quantised_by_them), rtol=1e-4, atol=1e-4)
    quantised_by_them.save_pretrained(tmp_path / "theirs")
    read = logits(load_model(tmp_path / "theirs", device="cpu"))
    torch.testing.assert_close(read, logits(quantised_by_them), rtol=1e-4, atol=1e-4)


def test_int8_is_near_and_bitsandbytes_reads_it(small: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder, out = small("llama"), tmp_path / "q8"
    vocabkit("quantize", folder, "--format", "int8", "-o", out)
    exact = logits(load_model(folder, device="cpu"))
    ours = logits(load_model(out, device="cpu"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out, device_map="cpu")
    assert type(theirs.model.layers[0].mlp.up_proj).__name__ == "Linear8bitLt"
    assert apart(exact, ours) < 0.02
    assert apart(exact, logits(theirs)) < 0.5


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
@pytest.mark.parametrize("form", ["nf4", "int8"])
def test_experts_are_quantised_each(kind: str, form: str, small: Callable[..., Path], tmp_path: Path) -> None:
    """In a file experts are matrices, in transformers' memory one tensor; ours are held in few bits too."""
    folder, out = small(kind, **MIXTURES[kind]), tmp_path / form
    found = vocabkit_json("quantize", folder, "--format", form, "-o", out)
    # Two layers of four linear layers and of four experts with three matrices each.
    assert found["layers"] == 2 * (4 + 4 * 3)
    model, exact = load_model(out, device="cpu"), load_model(folder, device="cpu")
    held = [name for name, layer in linear_layers(model).items() if isinstance(layer, PackedLinear)]
    assert len(held) == found["layers"]
    assert sum(".experts." in name for name in held) == 24
    assert apart(logits(exact), logits(model)) < (0.02 if form == "int8" else 0.5)
    # The same from the weights themselves, as transformers computes.
    for name, layer in linear_layers(model).items():
        if isinstance(layer, PackedLinear) and ".experts." in name:
            path, number, matrix = name.rsplit(".", 2)
            experts = exact.get_submodule(path)
            both = experts.gate_up_proj[int(number)].chunk(2)
            weight = {"gate_proj": both[0], "up_proj": both[1], "down_proj": experts.down_proj[int(number)]}[matrix]
            with torch.no_grad():
                made = layer(torch.eye(weight.shape[1])).t()
                error = float((made - weight).norm() / weight.norm())
            assert error < (0.02 if form == "int8" else 0.12)
    engine = open_engine(folder, Opening(device="cpu", dtype="float32", quantize=form))
    assert sum(".experts." in name and isinstance(layer, PackedLinear)
               for name, layer in linear_layers(engine.model).items()) == 24  # fmt: skip
    for source in (folder, out):
        written = vocabkit_json(
            "generate",
            source,
            "--prompt",
            "One",
            "--max-new-tokens",
            3,
            *(() if source == out else ("--quantize", form)),
        )
        assert written["new_tokens"] == 3


def test_experts_in_one_tensor_are_refused(small: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "stacked"
    shutil.copytree(small("qwen3_moe", **MIXTURES["qwen3_moe"]), folder)
    tensors = load_file(folder / "model.safetensors")
    stacked = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    save_file(stacked, folder / "model.safetensors", metadata={"format": "pt"})
    failed = vocabkit("quantize", folder, "-o", tmp_path / "q4", code=1).stderr
    assert "has no tensor for model.layers.0.mlp.experts.0.gate_proj" in failed


def test_many_shards_are_written_one_by_one(small: Callable[..., Path], tmp_path: Path) -> None:
    folder, sharded, out = small("llama"), tmp_path / "sharded", tmp_path / "q4"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(sharded, max_shard_size="3MB")
    for path in folder.glob("tokenizer*"):
        (sharded / path.name).write_bytes(path.read_bytes())
    assert len(list(sharded.glob("*.safetensors"))) > 2
    vocabkit("quantize", sharded, "-o", out)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    held = {name: path.name for path in out.glob("*.safetensors") for name in read_header(path).tensors}
    assert index["weight_map"] == held
    single = tmp_path / "single"
    vocabkit("quantize", folder, "-o", single)
    assert torch.equal(logits(load_model(out, device="cpu")), logits(load_model(single, device="cpu")))


def test_on_a_cpu_nf4_is_run_as_int8_and_only_what_fits_is_quantised(
    small: Callable[..., Path], tmp_path: Path
) -> None:
    folder = small("llama", hidden_size=96, intermediate_size=128)
    out = tmp_path / "q4"
    found = vocabkit_json("quantize", folder, "-o", out)
    # 96 is no multiple of 64: only the matrices that read the 128 of the inner layer fit.
    assert found["layers"] == 2
    engine = open_engine(out, Opening(device="cpu"))
    kinds = {name: type(layer.packed).__name__ for name, layer in linear_layers(engine.model).items()
             if isinstance(layer, PackedLinear)}  # fmt: skip
    assert set(kinds.values()) == {"Int8Weight"}
    assert vocabkit_json("generate", out, "--prompt", "One", "--max-new-tokens", 3)["new_tokens"] == 3


def test_few_bits_cost_little_and_in_order(smollm2_model: Path, tmp_path: Path) -> None:
    """Bits per byte of a real model: the model's own <= int8 <= NF4."""
    text = tmp_path / "en.txt"
    text.write_text(
        "The committee met on Tuesday. Its report was published a week later.\n"
        "Water boils at one hundred degrees at sea level, and at less in the mountains.\n"
        "She opened the window and looked at the river, which had risen during the night.\n"
        "Whoever writes a program should also say what it is for and how it is used.\n",
        encoding="utf-8",
    )
    for form in ("int8", "nf4"):
        vocabkit("quantize", smollm2_model, "--format", form, "-o", tmp_path / form)
    found = vocabkit_json("bench", "perplexity", smollm2_model, tmp_path / "int8", tmp_path / "nf4", "--text", text)
    bits = [row["bits_per_byte"] for row in found["rows"]]
    assert bits[0] < bits[1] < bits[2] < 1.25 * bits[0]


def test_what_cannot_be_quantised(small: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = small("llama"), tmp_path / "q4"
    vocabkit("quantize", folder, "-o", out)
    assert "is quantised already" in vocabkit("quantize", out, "-o", tmp_path / "again", code=1).stderr
    assert "exists" in vocabkit("quantize", folder, "-o", out, code=1).stderr
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (out / "config.json").write_text(json.dumps(config))
    failed = vocabkit("generate", out, "--prompt", "x", code=1).stderr
    assert "is quantised by gptq, and only bitsandbytes' NF4 and int8 can be read here" in failed
