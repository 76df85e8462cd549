"""What others measured, with its scale and where it is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One study.  budget: training tokens after the extension.  found: what it says of extension."""

    study: str
    source: str
    base: str
    budget: str
    found: str

    def to_json(self) -> dict[str, str]:
        """Return it as plain data."""
        return asdict(self)


FINDINGS = (
    Finding(
        "Chinese-LLaMA-Alpaca",
        "arXiv 2304.08177",
        "LLaMA, 32,000 -> 49,953 tokens",
        "20-120 GB of text",
        "texts half as long, twice as fast; no model without extension was trained for comparison",
    ),
    Finding(
        "LLaMA Beyond English",
        "arXiv 2401.01055",
        "LLaMA, LLaMA-2",
        "0.5-30 B tokens",
        "up to tens of billions of tokens an extended vocabulary did no better than the original one",
    ),
    Finding(
        "Chinese-Mixtral",
        "arXiv 2403.01851",
        "Mixtral-8x7B",
        "20 GB of text",
        "the extended model was worse on three benchmarks (-5.3, -4.5, -1.3); released without extension",
    ),
    Finding(
        "EEVE-Korean",
        "arXiv 2402.14714",
        "SOLAR-10.7B, Phi-2",
        "2 B tokens",
        "works with rows from their pieces and layers unfrozen in stages",
    ),
    Finding(
        "Swallow",
        "arXiv 2404.17790",
        "Llama-2, +11,176 Japanese tokens",
        "100 B tokens",
        "56 % fewer tokens; Japanese as good or better, English 2 to 5 points worse",
    ),
)
