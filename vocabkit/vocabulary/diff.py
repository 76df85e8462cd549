"""What changed between two tokenizers, or two models: no judgement, that is `verify`'s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vocabkit.rows.checkpoint import Checkpoint, RowTensor
from vocabkit.rows.safetensors_file import Header, Tensor
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_alphabet import readable

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
COMPARED_BYTES = 1 << 24


@dataclass(frozen=True)
class TokenizerDiff:
    """Tokens as text, bytes that are none as <0xE4>.

    families, sizes: of both.  added, removed: id -> token.  moved: token -> [old id, new id].
    specials: added, removed and moved ones among them.  parts: of tokenizer.json or beside it, that differ.
    """

    families: tuple[str, str]
    sizes: tuple[int, int]
    added: dict[int, str]
    removed: dict[int, str]
    moved: dict[str, tuple[int, int]]
    specials: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.moved or self.parts or self.families[0] != self.families[1])


@dataclass(frozen=True)
class WeightsDiff:
    """Tensors by name.

    rows, tied: of both.  grown: tensors with one row per token whose number of rows differs.
    changed_rows: tensor -> how many of the rows that both have differ.
    added, removed, changed: other tensors.
    """

    rows: tuple[int, int]
    tied: tuple[bool, bool]
    grown: tuple[str, ...]
    changed_rows: dict[str, int]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        lists = (self.grown, self.changed_rows, self.added, self.removed, self.changed)
        return not any(lists) and self.rows[0] == self.rows[1] and self.tied[0] == self.tied[1]


def diff_tokenizers(a: Tokenizer, b: Tokenizer) -> TokenizerDiff:
    """Return what `b` has that `a` has not, and the other way round."""
    old, new = a.id_table, b.id_table
    added = {i: _text(b, token, i) for token, i in new.items() if token not in old}
    removed = {i: _text(a, token, i) for token, i in old.items() if token not in new}
    shifted = {token: (i, new[token]) for token, i in old.items() if token in new and new[token] != i}
    special = a.special_tokens.keys() ^ b.special_tokens.keys() | (shifted.keys() & a.special_tokens.keys())
    parts = [part for part in PARTS if a.json.get(part) != b.json.get(part)]
    if a.sidecars.chat_template != b.sidecars.chat_template:
        parts.append("chat template")
    return TokenizerDiff(
        (a.family, b.family),
        (a.size, b.size),
        dict(sorted(added.items())),
        dict(sorted(removed.items())),
        {_text(a, token, ids[0]): ids for token, ids in shifted.items()},
        tuple(sorted(special)),
        tuple(parts),
    )


def diff_weights(a: Checkpoint, b: Checkpoint) -> WeightsDiff:
    """Return which tensors differ, reading both models once."""
    rows_a, rows_b = ({tensor.name: tensor for tensor in side.row_tensors} for side in (a, b))
    tensors_a, tensors_b = dict(_tensors(a)), dict(_tensors(b))
    shared = [name for name in tensors_a if name in tensors_b]
    by_row = [name for name in shared if name in rows_a and name in rows_b]
    changed_rows = {name: n for name in by_row if (n := _changed_rows(rows_a[name], rows_b[name]))}
    return WeightsDiff(
        (a.rows, b.rows),
        (a.tied, b.tied),
        tuple(name for name in by_row if rows_a[name].tensor.shape != rows_b[name].tensor.shape),
        changed_rows,
        tuple(name for name in tensors_b if name not in tensors_a),
        tuple(name for name in tensors_a if name not in tensors_b),
        tuple(name for name in shared if name not in by_row and not _same_bytes(*tensors_a[name], *tensors_b[name])),
    )


def to_json(difference: TokenizerDiff | WeightsDiff) -> dict[str, Any]:
    """Return a difference as plain data."""
    return {"same": difference.same, **asdict(difference)}


def _text(tokenizer: Tokenizer, token: str, token_id: int) -> str:
    found = tokenizer.token_bytes(token_id)
    return token if found is None else readable(found)


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, tuple[Header, Tensor]]]:
    for header in checkpoint.shards.values():
        for name, tensor in header.tensors.items():
            yield name, (header, tensor)


def _changed_rows(a: RowTensor, b: RowTensor) -> int:
    """Return how many of the rows that both have differ; all of them when their format does."""
    both = min(a.tensor.shape[0], b.tensor.shape[0])
    if a.tensor.dtype != b.tensor.dtype or a.tensor.shape[1:] != b.tensor.shape[1:]:
        return both
    one = a.tensor.nbytes // max(a.tensor.shape[0], 1)
    step = max(1, COMPARED_BYTES // max(one, 1))
    changed = 0
    for start in range(0, both, step):
        left, right = (
            np.ascontiguousarray(x.values[start : min(start + step, both)]).view(np.uint8).reshape(-1, one)
            for x in (a, b)
        )
        changed += int((left != right).any(1).sum())
    return changed


def _same_bytes(header_a: Header, a: Tensor, header_b: Header, b: Tensor) -> bool:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    with header_a.path.open("rb") as left, header_b.path.open("rb") as right:
        left.seek(a.start)
        right.seek(b.start)
        remaining = a.nbytes
        while remaining:
            step = min(COMPARED_BYTES, remaining)
            if left.read(step) != right.read(step):
                return False
            remaining -= step
    return True
