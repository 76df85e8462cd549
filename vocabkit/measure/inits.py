"""Compare ways to make new rows, before any training: bits per byte of the extended model on several texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.model.scores import document_bits, log_z_shift
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import start_id


@dataclass(frozen=True)
class Candidate:
    """The new rows of one initialiser and seed.

    rows: matrix ("input", "head") -> [M, width], a head's bias as its last column.
    equal: how many of them are equal, in the checkpoint's format, to one before them.
    seconds: of processor time that making them took.
    """

    name: str
    rows: Mapping[str, NDArray[np.float32]]
    equal: int
    seconds: float = 0.0


@dataclass(frozen=True)
class InitScore:
    """One initialiser, the mean over its seeds.

    bits_per_byte: text -> bits per byte at step 0.  spread: text -> the greatest minus the least over the seeds.
    norm: median norm of the new input rows, in units of the old ones'.
    seconds: of processor time that making the rows took.
    log_z: mean log probability that old tokens lose to new ones on the last text; log_z_max: the greatest.
    """

    initializer: str
    seeds: int
    bits_per_byte: dict[str, float]
    spread: dict[str, float]
    equal: int
    norm: float
    log_z: float
    log_z_max: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


class Grown:
    """A model in memory whose new rows can be exchanged."""

    def __init__(self, model: Any, first: int, rows: int) -> None:
        self.model = model
        self.first = first
        head = model.get_output_embeddings()
        tied = head.weight is model.get_input_embeddings().weight
        self.parameters = {"input": _grow(model.get_input_embeddings(), first, rows)}
        self.bias: Any = None
        if tied:
            head.weight = self.parameters["input"]
        else:
            self.parameters["head"] = _grow(head, first, rows)
            self.bias = head.bias
        model.config.get_text_config().vocab_size = rows

    def set_rows(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Put new rows in the place of those before."""
        import torch

        with torch.no_grad():
            for role, parameter in self.parameters.items():
                width = parameter.shape[1]
                parameter[self.first :] = torch.from_numpy(np.ascontiguousarray(rows[role][:, :width])).to(parameter)
                if role == "head" and self.bias is not None:
                    self.bias[self.first :] = torch.from_numpy(np.ascontiguousarray(rows[role][:, width])).to(
                        self.bias
                    )

    def norm(self) -> float:
        """The median norm of the new input rows, in units of the old ones'."""
        norms = self.parameters["input"].detach().float().norm(dim=1)
        return float(norms[self.first :].median() / norms[: self.first].median())


def measure_inits(
    model: Any,
    base: Tokenizer,
    tokenizer: Tokenizer,
    texts: Sequence[tuple[str, Sequence[str]]],
    candidates: Iterable[Candidate],
    *,
    context: int = 1024,
    progress: Callable[[str], None] | None = None,
) -> list[InitScore]:
    """Return a row per initialiser; the first is the base itself, as "unextended".

    candidates: one after the other, those of one name together.  log_z is taken on the last text.
    """
    start = start_id(base)
    sizes = {name: sum(len(line.encode()) for line in lines) for name, lines in texts}

    def bits(by: Tokenizer) -> dict[str, float]:
        return {
            name: sum(document_bits(model, by.encode(lines), start, context=context)) / max(sizes[name], 1)
            for name, lines in texts
        }

    if progress:
        progress("Scoring the base")
    scores = [InitScore("unextended", 1, bits(base), dict.fromkeys(sizes, 0.0), 0, 1.0, 0.0, 0.0, 0.0)]
    grown = Grown(model, base.size, tokenizer.size)
    found: dict[str, list[tuple[dict[str, float], int, float, float, float, float]]] = {}
    last = tokenizer.encode(texts[-1][1])
    for candidate in candidates:
        if progress:
            progress(f"Scoring {candidate.name}")
        grown.set_rows(candidate.rows)
        shift = log_z_shift(model, last, start, base.size, context=context)
        row = (bits(tokenizer), candidate.equal, grown.norm(), *shift, candidate.seconds)
        found.setdefault(candidate.name, []).append(row)
    for name, rows in found.items():
        per_text = {text: [row[0][text] for row in rows] for text in sizes}
        means = [float(np.mean([row[i] for row in rows])) for i in (1, 2, 3, 5)]
        scores.append(
            InitScore(
                name,
                len(rows),
                {text: float(np.mean(values)) for text, values in per_text.items()},
                {text: max(values) - min(values) for text, values in per_text.items()},
                round(means[0]),
                means[1],
                means[2],
                max(row[4] for row in rows),
                means[3],
            )
        )
    return scores


def _grow(layer: Any, first: int, rows: int) -> Any:
    """Give a layer `rows` rows, the first `first` of them its own."""
    import torch

    weight = torch.zeros(rows, layer.weight.shape[1], dtype=layer.weight.dtype, device=layer.weight.device)
    weight[:first] = layer.weight.detach()[:first]
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    bias = getattr(layer, "bias", None)
    if bias is not None:
        longer = torch.zeros(rows, dtype=bias.dtype, device=bias.device)
        longer[:first] = bias.detach()[:first]
        layer.bias = torch.nn.Parameter(longer, requires_grad=False)
    return layer.weight
