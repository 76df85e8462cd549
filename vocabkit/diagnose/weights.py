"""Failures of the weight files and of config.json against them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vocabkit.diagnose.case import Case
from vocabkit.diagnose.finding import Edit, Finding
from vocabkit.diagnose.patient import Weights
from vocabkit.rows.architectures import NESTED
from vocabkit.rows.checkpoint import CONFIG, INDEX, RowTensor

PREDICTS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
COMPARED_ROWS = 4096


def unreadable(case: Case) -> Finding | None:
    """Files that cannot be read at all."""
    broken = case.patient.broken
    if not broken:
        return None
    return Finding(
        "unreadable files",
        f"{len(broken)} cannot be read: {broken[0]}",
        "nothing loads the folder, and what depends on these files was not looked at",
        "fetch them again from where they came from",
        tuple(broken),
        unsafe="what was in them is not known",
    )


def shards(case: Case) -> Finding | None:
    """The index names files or tensors that are not there, or not where it says."""
    weights = case.patient.weights
    if weights is None:
        return None
    absent = [name for name in weights.missing if not (weights.folder / name).is_file()]
    lost = [name for name in weights.named if name not in weights.where]
    moved = [name for name, shard in weights.named.items() if weights.where.get(name, shard) != shard]
    unnamed = [] if weights.index is None else [name for name in weights.where if name not in weights.named]
    several = weights.index is None and len(weights.headers) > 1
    said = [
        f"{number:,} {what}"
        for number, what in (
            (len(absent), "shards that it names are not there"),
            (len(lost), "tensors that it names are in no shard"),
            (len(moved), "tensors are in another shard than it says"),
            (len(unnamed), "tensors of the shards are not named"),
            (len(weights.twice), "tensors are in two shards"),
        )
        if number
    ]
    if several:
        said.append(f"there is none, for {len(weights.headers)} shards")
    if not said:
        return None
    sound = not (absent or lost or weights.twice or weights.missing)
    wrong = (*absent, *lost, *moved, *unnamed, *weights.twice)
    return Finding(
        "shards",
        f"{INDEX}: {', '.join(said)}",
        "loading stops, or goes on with random values where a tensor is missing",
        "write the index anew from the headers of the shards" if sound else "fetch the missing files again",
        wrong,
        edits=(Edit(INDEX, ("weight_map",), dict(sorted(weights.where.items()))),) if sound else (),
        unsafe="" if sound else "the missing values are not known",
    )


def tied_flag(case: Case) -> Finding | None:
    """config.json says that input and head are one matrix, and they are not; or the other way round."""
    weights = case.patient.weights
    if weights is None or weights.input is None or not weights.whole or not case.patient.config:
        return None
    keys, said = _tie_word_embeddings(case.patient.config)
    head = weights.head
    if said is True and head is not None and head.tensor.shape == weights.input.tensor.shape:
        differing = _differing_rows(weights.input, head)
        if differing:
            return Finding(
                "tied flag",
                f"{CONFIG} says tie_word_embeddings true, and {head.name} differs from {weights.input.name} in "
                f"{differing:,} of {head.tensor.shape[0]:,} rows",
                "programs that believe the flag throw the stored head away; transformers 5 keeps it with a warning",
                "set tie_word_embeddings to false, which keeps both matrices",
                edits=(Edit(CONFIG, keys, False),),
            )
    architectures = case.patient.config.get("architectures") or [""]
    if said is False and "lm_head.weight" not in weights.where and head is None:
        if not str(architectures[0]).endswith(PREDICTS):
            return None
        base = case.base.weights if case.base else None
        lost = base is not None and base.head is not None
        return Finding(
            "tied flag",
            f"{CONFIG} says tie_word_embeddings false, and no shard holds a head",
            "transformers makes a head of random values, and what the model writes is noise",
            f"the base has the head {base.head.name}: fetch the shard with the model's own"
            if base is not None and base.head is not None
            else "set tie_word_embeddings to true; where the model had a head of its own, fetch the missing shard",
            edits=() if lost else (Edit(CONFIG, keys, True),),
            unsafe="the base has a head apart, so this model's was lost" if lost else "",
        )
    return None


def too_few_rows(case: Case) -> Finding | None:
    """The tokenizer has ids for which there is no row."""
    tokenizer, rows = case.patient.tokenizer, case.patient.rows
    if tokenizer is None or rows is None or tokenizer.size <= rows:
        return None
    without = sorted(i for i in case.spelled if i >= rows)
    named = case.patient.weights.input if case.patient.weights else None
    return Finding(
        "too few rows",
        f"the tokenizer has {tokenizer.size:,} ids, and {named.name if named else CONFIG} {rows:,} rows: "
        f"{len(without):,} tokens have none",
        "text with one of these tokens stops the program, on a GPU with an index error far from its cause",
        "give the model rows for them: `vocabkit extend` on the base makes tokenizer and rows together",
        tuple(f"{i} {case.spelled[i]!r}" for i in without),
        unsafe="rows cannot be guessed; the tokenizer may also be that of another model",
    )


def vocab_size(case: Case) -> Finding | None:
    """config.json says another number of rows than the weights have."""
    weights, config = case.patient.weights, case.patient.config
    if weights is None or weights.input is None or not config:
        return None
    rows = weights.input.tensor.shape[0]
    wrong = [(keys, size) for keys, size in _vocab_sizes(config) if size != rows]
    if not wrong:
        return None
    return Finding(
        "vocab_size",
        f"{CONFIG} says vocab_size {', '.join(str(size) for _, size in wrong)}, and {weights.input.name} has "
        f"{rows:,} rows",
        "loading stops with a size mismatch, or fills the matrices anew with random rows",
        f"set vocab_size to {rows}",
        edits=tuple(Edit(CONFIG, keys, rows) for keys, _ in wrong),
    )


def head_length(case: Case) -> Finding | None:
    """Input, head and bias have different numbers of rows."""
    weights = case.patient.weights
    if weights is None or weights.input is None:
        return None
    lengths = {t.name: t.tensor.shape[0] for t in (weights.input, weights.head, weights.bias) if t is not None}
    if len(set(lengths.values())) == 1:
        return None
    return Finding(
        "head length",
        ", ".join(f"{name} has {rows:,} rows" for name, rows in lengths.items()),
        "one side alone was resized: the model does not load, or reads tokens that it cannot write",
        "resize both: `vocabkit extend` on the base does",
        unsafe="the missing rows cannot be guessed",
    )


def _tie_word_embeddings(config: dict[str, Any]) -> tuple[tuple[str, ...], Any]:
    """Return where config.json says it, and what; the top level and None when it does not."""
    for keys in (("tie_word_embeddings",), *((name, "tie_word_embeddings") for name in NESTED)):
        section = config if len(keys) == 1 else config.get(keys[0])
        if isinstance(section, dict) and keys[-1] in section:
            return keys, section[keys[-1]]
    return ("tie_word_embeddings",), None


def _vocab_sizes(config: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    if "vocab_size" in config:
        found.append((("vocab_size",), config["vocab_size"]))
    for name in NESTED:
        section = config.get(name)
        if isinstance(section, dict) and "vocab_size" in section:
            found.append(((name, "vocab_size"), section["vocab_size"]))
    return found


def _differing_rows(a: RowTensor, b: RowTensor) -> int:
    if a.tensor.dtype != b.tensor.dtype:
        return a.tensor.shape[0]
    differing = 0
    for start in range(0, a.tensor.shape[0], COMPARED_ROWS):
        left, right = (
            np.ascontiguousarray(x.values[start : start + COMPARED_ROWS]).view(np.uint8).reshape(-1, _row_bytes(x))
            for x in (a, b)
        )
        differing += int((left != right).any(1).sum())
    return differing


def _row_bytes(tensor: RowTensor) -> int:
    return tensor.tensor.nbytes // max(tensor.tensor.shape[0], 1)


def unsupported(weights: Weights) -> str | None:
    """Return why the rows of these weights cannot be looked at, None when they can."""
    if weights.input is not None:
        return None
    return "the rows: no known input embedding in a float format among the tensors" if weights.headers else None
