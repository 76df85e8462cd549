"""`vocabkit diff`: what changed between two tokenizers or models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.verify import open_weights

if TYPE_CHECKING:
    from vocabkit.vocabulary.diff import TokenizerDiff, WeightsDiff

EXAMPLES = 12


@click.command()
@click.argument("a")
@click.argument("b")
@options.as_json
def diff(a: str, b: str, as_json: bool) -> None:
    """Say what changed from A to B: tokens, ids, pipeline, and weights when both are models.

    \b
    Example:
      vocabkit diff ./Llama-3.2-1B llama-zh
    """
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.diff import diff_tokenizers, diff_weights, to_json

    old, new = open_tokenizer(a), open_tokenizer(b)
    models = open_weights(new, old)
    tokens = diff_tokenizers(old, new)
    weights = diff_weights(*models) if models else None
    if as_json:
        document: dict[str, Any] = {"tokenizer": to_json(tokens), "weights": to_json(weights) if weights else None}
        console.result_json(document)
        return
    _print_tokens(tokens)
    if weights:
        _print_weights(weights)


def _print_tokens(tokens: TokenizerDiff) -> None:
    if tokens.same:
        console.result(f"Tokenizer: the same {tokens.sizes[0]:,} tokens, ids and pipeline")
        return
    console.result(f"Tokenizer: {tokens.sizes[0]:,} -> {tokens.sizes[1]:,} tokens")
    if tokens.families[0] != tokens.families[1]:
        console.result(f"  family   {tokens.families[0]} -> {tokens.families[1]}")
    _print_list("added", list(tokens.added.values()))
    _print_list("removed", list(tokens.removed.values()))
    _print_list("moved", [f"{token} {old}->{new}" for token, (old, new) in tokens.moved.items()])
    _print_list("special", tokens.specials)
    _print_list("pipeline", tokens.parts)


def _print_weights(weights: WeightsDiff) -> None:
    if weights.same:
        console.result("Weights: the same tensors, bit by bit")
        return
    console.result(f"Weights: {weights.rows[0]:,} -> {weights.rows[1]:,} rows")
    if weights.tied[0] != weights.tied[1]:
        console.result(f"  tied     {weights.tied[0]} -> {weights.tied[1]}")
    _print_list("grown", weights.grown)
    _print_list("rows", [f"{name}: {number:,} of the shared rows" for name, number in weights.changed_rows.items()])
    _print_list("added", weights.added)
    _print_list("removed", weights.removed)
    _print_list("changed", weights.changed)


def _print_list(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" ... ({len(names):,})" if len(names) > EXAMPLES else ""
        console.result(f"  {what:<8} {' '.join(names[:EXAMPLES])}{more}")
