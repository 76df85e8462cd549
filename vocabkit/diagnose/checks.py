"""Every known failure, one function each, and the run through all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vocabkit.diagnose import gguf_file, rows, settings, tokens, weights
from vocabkit.diagnose.case import Case
from vocabkit.diagnose.finding import Diagnosis, Finding
from vocabkit.diagnose.patient import Elsewhere, examine

Check = Callable[[Case], Finding | None]
CHECKS: tuple[Check, ...] = (
    gguf_file.pre_tokenizer, gguf_file.gguf_vocabulary,
    weights.shards, weights.tied_flag, weights.too_few_rows, weights.vocab_size, weights.head_length,
    rows.numbers, rows.untrained,
    settings.tokenizer_class, settings.unknown_special, settings.special_ids, settings.special_map,
    settings.special_drift, settings.chat_template,
    tokens.other_family, tokens.unreachable, tokens.missing_merges, tokens.score_ties, tokens.added_vocabulary,
    tokens.renumbered,
    # Last: the others may come upon a file that cannot be read.
    weights.unreadable,
)  # fmt: skip


def diagnose(
    spec: str | Path,
    *,
    against: str | Path | None = None,
    texts: Sequence[str] = (),
    elsewhere: Elsewhere | None = None,
    progress: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Look for every known failure of a model folder, a tokenizer folder, a tokenizer file or a GGUF file.

    against: the model or tokenizer it was made from; then only what is new is judged.
    texts: lines on which the engines that can run it are compared.
    elsewhere: encodes texts in a process with nothing but the saved files; without it that is left out.
    Raises VocabkitError when there is nothing to look at, or the base cannot be read.
    """
    case = Case(examine(spec), examine(against) if against else None, tuple(texts), elsewhere)
    if case.base is not None and case.base.tokenizer is None:
        case.patient.unchecked.append(f"anything against {against}: it has no tokenizer that can be read")
    reason = weights.unsupported(case.patient.weights) if case.patient.weights else None
    if reason:
        case.patient.unchecked.append(reason)
    findings = []
    room = ""
    for check in CHECKS:
        if progress and check.__module__ != room:
            room = check.__module__
            progress(f"Looking at {room.rpartition('.')[2].replace('_', ' ')}")
        finding = check(case)
        if finding is not None:
            findings.append(finding)
    names = tuple(check.__name__.replace("_", " ") for check in CHECKS)
    return Diagnosis(tuple(findings), names, tuple(dict.fromkeys(case.patient.unchecked)))
