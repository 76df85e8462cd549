"""A checkpoint in 4 or 8 bits, in bitsandbytes' layout, made tensor by tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vocabkit_kernels import int8_quantize, nf4_quantize
from vocabkit_kernels.int8 import GREATEST

from vocabkit.copying import ChecksumWriter
from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.files import MANIFEST, whole_folder
from vocabkit.manifest import XXH3, inherited, write_manifest
from vocabkit.model.experts import is_experts, split_experts
from vocabkit.model.linears import NF4_BLOCK
from vocabkit.model.names import on_disk
from vocabkit.model.quantized import INT8_ORDER, INT8_SCALE, is_quantized
from vocabkit.rows.checkpoint import CONFIG, INDEX, Checkpoint, open_checkpoint
from vocabkit.rows.safetensors_file import header_bytes

FORMATS = ("nf4", "int8")
FLOATS = ("F32", "F16", "BF16")
STORED = {torch.uint8: "U8", torch.int8: "I8", torch.float32: "F32"}


@dataclass(frozen=True)
class Quantized:
    """What was made of a checkpoint.  layers: how many linear layers.  before, after: bytes of all tensors."""

    layers: int
    before: int
    after: int


def quantize(
    source: Path,
    output: Path,
    form: str,
    *,
    double_quant: bool = True,
    force: bool = False,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Quantized:
    """Write `source` with its linear layers in `form` into the folder `output`, which appears whole or not at all.

    form: "nf4" or "int8" (LLM.int8 without outliers: rows of int8 and a scale each).  Vocabulary matrices, norms and
    routers stay as they are.  double_quant: scales of NF4 in 8 bits.  One tensor is in memory at a time.
    Raises VocabkitError for an unknown form, CheckpointError for a model that is quantised already.
    """
    if form not in FORMATS:
        raise VocabkitError(f"--format {form!r} is not one of {', '.join(FORMATS)}")
    if is_quantized(source):
        raise CheckpointError(f"{source} is quantised already; name the model it was made from")
    checkpoint = open_checkpoint(source)
    layers = _layers(checkpoint, form)
    with whole_folder(output, force=force) as folder:
        places: dict[str, str] = {}
        checksums: dict[str, str] = {}
        before = after = 0
        for shard, header in checkpoint.shards.items():
            if progress:
                progress(f"Writing {shard}")
            before += sum(tensor.nbytes for tensor in header.tensors.values())
            names, size, checksum = _shard(header.path, folder / shard, layers, form, double_quant, device)
            places |= dict.fromkeys(names, shard)
            after += size
            checksums[shard] = f"{XXH3}{checksum}"
        if checkpoint.index is not None:
            index = {"metadata": {"total_size": after}, "weight_map": dict(sorted(places.items()))}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        config = {**checkpoint.config, "quantization_config": _config(checkpoint, form, double_quant)}
        (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        kept = (MANIFEST, CONFIG, INDEX, *checkpoint.shards)
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name not in kept and not path.name.startswith("."):
                shutil.copyfile(path, folder / path.name)
        arguments = {"format": form, "double_quant": double_quant}
        write_manifest(folder, "quantize", arguments=arguments, inputs=[], checksums=checksums, **inherited(source))
    return Quantized(len(layers), before, after)


def _layers(checkpoint: Checkpoint, form: str) -> frozenset[str]:
    """Return the names of the tensors to quantise: weights of the linear layers below the head."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    split_experts(model)
    head = model.get_output_embeddings()
    found = set()
    stored = {name: tensor for header in checkpoint.shards.values() for name, tensor in header.tensors.items()}
    for path, module in model.named_modules():
        name = on_disk(f"{path}.weight", stored)
        if isinstance(module, nn.Linear) and module is not head and name is None:
            raise CheckpointError(
                f"{checkpoint.folder} has no tensor for {path}, so it cannot be quantised; save the model with each "
                f"layer, and each expert, in a tensor of its own"
            )
        if not isinstance(module, nn.Linear) or module is head or name is None:
            continue
        fits = stored[name].shape[1] % NF4_BLOCK == 0 if form == "nf4" else True
        if fits and stored[name].dtype in FLOATS:
            found.add(name)
    unknown = sorted(type(module).__name__ for module in model.modules() if is_experts(module))
    if unknown or not found:
        why = f"{unknown[0]} computes something else than Mixtral's experts" if unknown else "no linear layer fits"
        raise CheckpointError(f"{checkpoint.folder} cannot be held in {form}: {why}; use it as it is")
    return frozenset(found)


def _shard(
    source: Path, target: Path, layers: frozenset[str], form: str, double_quant: bool, device: str
) -> tuple[list[str], int, str]:
    """Write one file of tensors; return their names, their bytes, and the file's checksum.

    The data is written first, for a header says how long every tensor is.
    """
    from safetensors import safe_open

    data = target.with_suffix(".data")
    entries: list[tuple[str, str, tuple[int, ...], int]] = []
    with safe_open(source, framework="pt") as file, data.open("wb") as out:
        metadata = file.metadata() or {}
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            stored = file.get_slice(name).get_dtype()
            parts = _parts(name, tensor.to(device), form, double_quant) if name in layers else {name: tensor}
            for part, value in parts.items():
                raw = _raw(value)
                entries.append(
                    (part, STORED[value.dtype] if name in layers else stored, tuple(value.shape), len(raw))
                )
                out.write(raw)
    with data.open("rb", buffering=0) as source_data, target.open("wb") as out:
        writer = ChecksumWriter(out)
        writer.write(header_bytes(entries, metadata))
        size = sum(entry[3] for entry in entries)
        writer.copy(source_data, 0, size)
    data.unlink()
    return [entry[0] for entry in entries], size, writer.checksum.hexdigest()


def _parts(name: str, weight: Tensor, form: str, double_quant: bool) -> dict[str, Tensor]:
    """Return the tensors that stand for a weight, [out, in]."""
    if form == "nf4":
        return nf4_quantize(weight, NF4_BLOCK, double_quant=double_quant).state_dict(name)
    made = int8_quantize(weight)
    path = name.removesuffix(".weight")
    # The greatest absolute value of a row, and values in the order of rows.
    scale = made.scale * GREATEST
    return {
        name: made.values,
        f"{path}.{INT8_SCALE}": scale,
        f"{path}.{INT8_ORDER}": torch.zeros((), dtype=torch.uint8),
    }


def _raw(tensor: Tensor) -> memoryview:
    data: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(data)


def _config(checkpoint: Checkpoint, form: str, double_quant: bool) -> Mapping[str, Any]:
    """Return what bitsandbytes and transformers read in config.json."""
    common = {"quant_method": "bitsandbytes", "load_in_4bit": form == "nf4", "load_in_8bit": form == "int8"}
    skipped = list(_skipped(checkpoint))
    if form == "int8":
        return {**common, "llm_int8_threshold": 6.0, "llm_int8_skip_modules": skipped}
    said = checkpoint.config.get("dtype") or checkpoint.config.get("torch_dtype") or "float32"
    return {
        **common,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": double_quant,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_compute_dtype": "float32" if said == "float32" else "bfloat16",
        "llm_int8_skip_modules": skipped,
    }


def _skipped(checkpoint: Checkpoint) -> Iterator[str]:
    yield "lm_head"
    if checkpoint.head is not None and not checkpoint.tied:
        name = checkpoint.head.name.removesuffix(".weight")
        if name != "lm_head":
            yield name
