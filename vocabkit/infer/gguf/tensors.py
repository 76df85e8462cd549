"""Which tensors of a checkpoint go where in a GGUF file, in which format, and their values, a few rows at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Format
from numpy.typing import NDArray

from vocabkit.errors import CheckpointError
from vocabkit.infer.gguf.architectures import Architecture, head_width, rope_factors
from vocabkit.rows.checkpoint import Checkpoint
from vocabkit.rows.dtypes import FLOATS
from vocabkit.rows.safetensors_file import Header, Tensor

FORMATS = {
    "f32": (Format.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Format.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (Format.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Format.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (Format.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
# Rows of tokens that were seldom trained suffer most; four bits more there cost little.
VOCABULARY_FORMATS = {Format.Q4_0: Format.Q8_0}
VOCABULARY = ("token_embd.weight", "output.weight")
EXPERT = re.compile(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.weight")
EXPERT_NAMES = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}
ROUTER = ".ffn_gate_inp."
# Older checkpoints keep what positions are computed from; it follows from the config.
LEFT_OUT = ".rotary_emb.inv_freq"
BLOCK_BYTES = 1 << 26
LARGEST_F16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Planned:
    """A tensor of the file.

    shape: as NumPy has it, the outermost first.
    sources: what it is made of; experts are stacked.  heads: how many have their halves interleaved, 0 for none.
    constant: its values, where no checkpoint holds them.
    """

    name: str
    shape: tuple[int, ...]
    format: Format
    sources: tuple[tuple[Header, Tensor], ...] = ()
    heads: int = 0
    constant: NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        """How many rows it has; a vector's values count as rows."""
        return math.prod(self.shape[:-1]) if len(self.shape) > 1 else self.shape[0]

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        block, size = gguf.GGML_QUANT_SIZES[self.format]
        return int(math.prod(self.shape) // block * size)

    def values(self, picked: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return rows as float32, [len(picked), width], or [len(picked)] of a vector; `picked` ascends."""
        if self.constant is not None:
            return self.constant[picked]
        per_source = self.rows // len(self.sources)
        parts = []
        for number in np.unique(picked // per_source).tolist():
            rows = picked[picked // per_source == number] - number * per_source
            header, tensor = self.sources[number]
            parts.append(_read(header, tensor, _interleaved(per_source, self.heads)[rows] if self.heads else rows))
        return np.concatenate(parts)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield its rows in the file's format, some 64 MB of float32 at a time.

        Raises CheckpointError when a value does not fit the format.
        """
        width = self.shape[-1] if len(self.shape) > 1 else 1
        step = max(1, BLOCK_BYTES // (4 * width))
        for start in range(0, self.rows, step):
            values = self.values(np.arange(start, min(start + step, self.rows)))
            if self.format == Format.F16 and float(np.abs(values).max(initial=0)) > LARGEST_F16:
                raise CheckpointError(f"{self.name} holds values that f16 cannot; choose --type bf16 or f32")
            yield gguf.quants.quantize(values, self.format)


def plan(checkpoint: Checkpoint, architecture: Architecture, type_name: str) -> list[Planned]:
    """Return every tensor of the file, in the order of the checkpoint.  type_name: a key of FORMATS.

    Raises CheckpointError for a tensor that llama.cpp has no place for.
    """
    wanted = FORMATS[type_name][0]
    config = checkpoint.config
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    found: dict[str, list[tuple[Header, Tensor]]] = {}
    heads: dict[str, int] = {}
    for header in checkpoint.shards.values():
        for source, tensor in header.tensors.items():
            if source.endswith(LEFT_OUT) or (checkpoint.tied and checkpoint.head and source == checkpoint.head.name):
                continue
            name = _name(source, names)
            if name is None or tensor.dtype not in FLOATS:
                what = "has no place in GGUF" if name is None else f"is of type {tensor.dtype}"
                raise CheckpointError(
                    f"{checkpoint.folder}: {source} {what}; convert the model with convert_hf_to_gguf.py of llama.cpp"
                )
            found.setdefault(name, []).append((header, tensor))
            heads[name] = _heads(source, config) if architecture.interleaves else 0
    planned = [_planned(name, _ordered(parts), wanted, heads[name]) for name, parts in found.items()]
    factors = rope_factors(config)
    if factors is not None:
        planned.append(Planned("rope_freqs.weight", factors.shape, Format.F32, constant=factors))
    _check_shapes(checkpoint, planned)
    return planned


def _name(source: str, names: Any) -> str | None:
    match = EXPERT.fullmatch(source)
    if match:
        return f"blk.{match[1]}.{EXPERT_NAMES[match[3]]}.weight"
    name: str | None = names.get_name(source, try_suffixes=(".weight", ".bias"))
    return name


def _ordered(parts: list[tuple[Header, Tensor]]) -> tuple[tuple[Header, Tensor], ...]:
    """Return experts by their number; an index may list them by their names, 10 before 2."""

    def number(part: tuple[Header, Tensor]) -> int:
        match = EXPERT.fullmatch(part[1].name)
        return int(match[2]) if match else 0

    return tuple(sorted(parts, key=number))


def _heads(source: str, config: dict[str, Any]) -> int:
    """Return how many heads a projection makes whose rotary halves are interleaved; 0 for other tensors."""
    if ".q_proj." in source:
        return int(config["num_attention_heads"])
    if ".k_proj." in source:
        return int(config.get("num_key_value_heads") or config["num_attention_heads"])
    return 0


def _planned(name: str, sources: tuple[tuple[Header, Tensor], ...], wanted: Format, heads: int) -> Planned:
    shape = sources[0][1].shape
    if EXPERT.fullmatch(sources[0][1].name):
        shape = (len(sources), *shape)
    return Planned(name, shape, _format(name, shape, wanted), sources, heads)


def _format(name: str, shape: tuple[int, ...], wanted: Format) -> Format:
    """Return the format of a tensor: vectors and routers stay exact, rows that no block fits are f16."""
    if len(shape) == 1 or ROUTER in name:
        return Format.F32
    chosen = VOCABULARY_FORMATS.get(wanted, wanted) if name in VOCABULARY else wanted
    return Format.F16 if shape[-1] % gguf.GGML_QUANT_SIZES[chosen][0] else chosen


def _check_shapes(checkpoint: Checkpoint, planned: list[Planned]) -> None:
    """Raise CheckpointError when heads or experts do not divide as the config says."""
    width, experts = head_width(checkpoint.config), checkpoint.config.get("num_local_experts")
    for tensor in planned:
        if tensor.heads and tensor.shape[0] != tensor.heads * width:
            problem = f"{tensor.shape[0]:,} rows, not {tensor.heads} heads of {width}"
        elif len(tensor.shape) == 3 and tensor.shape[0] != experts:
            problem = f"{tensor.shape[0]} experts, not {experts}"
        else:
            continue
        raise CheckpointError(
            f"{checkpoint.folder}: {tensor.sources[0][1].name} has {problem}, as config.json says; fetch both again"
        )


def _read(header: Header, tensor: Tensor, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    mapped = np.memmap(header.path, np.uint8, "r", tensor.start, (tensor.nbytes,))
    values = mapped.view(FLOATS[tensor.dtype]).reshape(tensor.shape)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and np.all(np.diff(rows) == 1):
        return np.asarray(values[rows[0] : rows[-1] + 1], np.float32)
    return np.asarray(values[rows], np.float32)


def _interleaved(rows: int, heads: int) -> NDArray[np.intp]:
    """Return which source row stands where: of each head, one of its first half, one of its second, and so on."""
    return np.arange(rows).reshape(heads, 2, -1).swapaxes(1, 2).ravel()
