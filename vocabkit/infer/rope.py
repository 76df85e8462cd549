"""A longer context than a model was trained with: position interpolation, NTK-aware scaling, YaRN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vocabkit.errors import VocabkitError

KINDS = ("linear", "ntk", "yarn")
# Turns within the trained context above which YaRN leaves a frequency alone, and below which it interpolates it.
# Source: Peng et al., "YaRN", section 3.2, for Llama.
MANY_TURNS, FEW_TURNS = 32.0, 1.0


@dataclass(frozen=True)
class Stretch:
    """How rotary positions are stretched.

    kind: one of KINDS, or None to only bound the context.  context: tokens to hold; None: the model's own.
    factor: of linear and YaRN how many times longer, of NTK its alpha; None: what `context` needs.
    """

    kind: str | None = None
    context: int | None = None
    factor: float | None = None

    @classmethod
    def parse(cls, rope: str | None, context: int | None) -> Stretch | None:
        """Return what `--rope KIND` or `--rope KIND:FACTOR` and `--context` say together; None for nothing.

        Raises VocabkitError for a kind that is not known and a factor that is no number above 0.
        """
        if rope is None:
            return cls(context=context) if context else None
        kind, colon, number = rope.partition(":")
        if kind not in KINDS:
            raise VocabkitError(f"--rope {kind!r} is not one of {', '.join(KINDS)}")
        try:
            factor = float(number) if colon else None
        except ValueError:
            factor = math.nan
        if factor is not None and not (0 < factor < math.inf):
            raise VocabkitError(f"--rope {rope}: the factor must be a number above 0, for example {kind}:4")
        if factor is None and context is None:
            raise VocabkitError(f"--rope {kind} needs --context TOKENS, or a factor, for example {kind}:4")
        return cls(kind, context, factor)


def linear(frequencies: Tensor, factor: float) -> Tensor:
    """Return the frequencies of positions that are `factor` times closer together.

    Source: Chen et al., "Extending context window of large language models via positional interpolation".
    """
    return frequencies / factor


def ntk(frequencies: Tensor, base: float, alpha: float) -> Tensor:
    """Return the frequencies of the base b alpha^(d / (d - 2)): the fastest stays, the slowest is divided by alpha.

    Source: the "NTK-aware scaled RoPE" of bloc97, which Chinese-LLaMA uses.
    """
    width = 2 * len(frequencies)
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=frequencies.device) / width
    found: Tensor = (base * alpha ** (width / (width - 2))) ** -exponents
    return found


def ntk_alpha(context: int, trained: int) -> float:
    """Return the alpha that Chinese-LLaMA-2 chooses for a context: context / (trained / 2) - 1, at least 1."""
    return max(1.0, 2 * context / trained - 1)


def yarn(frequencies: Tensor, base: float, factor: float, trained: int) -> tuple[Tensor, float]:
    """Return YaRN's frequencies, and what queries and keys are multiplied by.

    Frequencies that turn more than MANY_TURNS times within the trained context stay, those below FEW_TURNS are
    interpolated, with a ramp over the dimensions between.
    """
    width = 2 * len(frequencies)

    def dimension(turns: float) -> float:
        return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(dimension(MANY_TURNS)), 0)
    high = min(math.ceil(dimension(FEW_TURNS)), width - 1)
    places = torch.arange(len(frequencies), dtype=torch.float64, device=frequencies.device)
    interpolated = ((places - low) / max(high - low, 0.001)).clamp(0, 1)
    found = frequencies / factor * interpolated + frequencies * (1 - interpolated)
    return found, 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def stretched(model: Any, stretch: Stretch | None) -> int:
    """Stretch the context of a model in memory, and return how many tokens it holds.

    Raises VocabkitError for a context that the model does not have without stretching, and for a model that has no
    plain rotary positions.
    """
    config = model.config.get_text_config()
    trained = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2048
    if stretch is None:
        return int(trained)
    if stretch.kind is None:
        wanted = stretch.context or trained
        if wanted > trained:
            raise VocabkitError(
                f"--context {wanted} is longer than the {trained:,} tokens the model was trained with; "
                f"add --rope yarn"
            )
        return wanted
    rotary = getattr(model.base_model, "rotary_emb", None)
    said = getattr(config, "rope_parameters", None) or {}
    kind = said.get("rope_type", "default")
    if rotary is None or not hasattr(rotary, "inv_freq") or kind != "default":
        how = f"already scaled ({kind})" if rotary is not None else "not rotary"
        raise VocabkitError(f"the positions of {type(model).__name__} are {how}; use it without --rope")
    base, frequencies = float(said.get("rope_theta", 10000.0)), rotary.inv_freq.double()
    longer = stretch.factor or max(1.0, (stretch.context or trained) / trained)
    context = stretch.context or round(trained * longer)
    if stretch.kind == "linear":
        found, scale = linear(frequencies, longer), 1.0
    elif stretch.kind == "ntk":
        found, scale = ntk(frequencies, base, stretch.factor or ntk_alpha(context, trained)), 1.0
    else:
        found, scale = yarn(frequencies, base, longer, trained)
    rotary.inv_freq = found.to(rotary.inv_freq.dtype)
    rotary.attention_scaling = scale
    return context
