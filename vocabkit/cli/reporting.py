"""Gather what `vocabkit report` shows, from the tokenizers, the weights and the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocabkit import console
from vocabkit.errors import VocabkitError
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.language import Language
    from vocabkit.report.facts import Curve, Facts
    from vocabkit.tokenizer.base import Tokenizer
    from vocabkit.vocabulary.new_tokens import NewTokenFacts
    from vocabkit.vocabulary.vocabulary_file import Vocabulary

# Enough for every figure; more only takes longer.
MAX_LINES = 5_000
# Tokens whose nearest old rows are looked for: each costs a look at every old row.
MOST_NEAREST = 300
# These decide how text is cut; when one is not as it was written, neither is the certificate.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def gather(
    registry: Registry,
    name: str,
    *,
    against: str | None,
    lang: str | None,
    text: Sequence[str],
    runs: Sequence[Path],
    progress: Callable[[str], None],
) -> Facts:
    """Return the facts about the tokenizer or model called `name`.

    Raises VocabkitError when its base is not known, or does not fit.
    """
    from vocabkit.cli.texts import read_lines
    from vocabkit.manifest import read_manifest
    from vocabkit.measure.before_after import lengths_by_script, lengths_by_text
    from vocabkit.measure.side_by_side import changed_lines, extremes
    from vocabkit.report.facts import Facts
    from vocabkit.report.runs import read_run
    from vocabkit.rows.checkpoint import holds_model
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary import probes
    from vocabkit.vocabulary.checks import padded_rows
    from vocabkit.vocabulary.new_tokens import describe

    folder = Path(name) if Path(name).is_dir() else None
    read = tuple(map(read_run, runs))
    candidate = open_tokenizer(name)
    manifest = (read_manifest(folder) if folder else None) or {}
    base = _open_base(name, candidate, manifest, against)
    code = lang or manifest.get("language")
    language = registry.language(code) if code else None
    texts = [(Path(spec).name or spec, read_lines(spec, registry, MAX_LINES)) for spec in text]
    if not texts and language and language.evaluation_text:
        texts = [
            (f"{language.code} evaluation text", [line for line in language.evaluation_text.splitlines() if line])
        ]
    lines = [line for _, one in texts for line in one]

    progress("Reading the certificate")
    certificate, is_stored = _certificate(registry, candidate, base, folder, manifest, lang, lines, progress)
    progress("Looking at the new tokens")
    vocabulary = _vocabulary(folder)
    tokens = describe(base, candidate, vocabulary.tokens if vocabulary else (), lines)
    progress("Measuring the texts")
    own = [line for line in lines if language and any(map(language.owns, line))]
    worst, best = extremes(base, candidate, own or lines)
    curve = _curve(base, candidate, language, manifest, vocabulary, [*(one for _, one in texts), own])
    pieces = {piece: base.token_bytes(piece) or b"" for token in tokens for piece in token.replaces}
    source = candidate.source
    return Facts(
        name=Path(name).resolve().name if folder else Path(name).name,
        base_name=_base_name(manifest, against),
        language=language.name if language else "",
        code=language.code if language else "",
        family=candidate.family,
        base_size=base.size,
        size=candidate.size,
        rows=manifest.get("padded_size") or padded_rows(base, candidate.size),
        has_weights=source.is_dir() and holds_model(source),
        manifest=manifest,
        certificate=certificate,
        is_stored=is_stored,
        texts=tuple(lengths_by_text(base, candidate, texts)),
        scripts=tuple(lengths_by_script(base, candidate, lines)),
        worst=tuple(worst),
        best=tuple(best),
        english=tuple(changed_lines(base, candidate, probes.english_lines())),
        num_english=len(probes.english_lines()),
        tokens=tuple(tokens),
        pieces=pieces,
        nearest=_nearest(candidate, base, tokens, progress),
        curve=curve,
        runs=read,
    )


def _open_base(name: str, candidate: Tokenizer, manifest: Mapping[str, Any], against: str | None) -> Tokenizer:
    """Open what --against names, else what the manifest names, when it is there and has as many tokens."""
    from vocabkit.tokenizer import open_tokenizer

    spec = against or manifest.get("arguments", {}).get("base")
    if not isinstance(spec, str):
        raise VocabkitError(f"{name} does not say what it was made from; name it with --against BASE")
    recorded = manifest.get("base", {})
    try:
        base = open_tokenizer(spec)
    except VocabkitError as error:
        if against:
            raise
        raise VocabkitError(f"{name} was made from {spec}, which cannot be opened: name it with --against") from error
    if not against and recorded.get("size") not in (None, base.size):
        raise VocabkitError(
            f"{name} was made from {recorded.get('name')}, which had {recorded['size']:,} tokens, and {spec} has "
            f"{base.size:,}; name the right one with --against"
        )
    if base.family != candidate.family:
        raise VocabkitError(f"{name} is {candidate.family} and {spec} is {base.family}; name its base with --against")
    if candidate.size <= base.size:
        raise VocabkitError(
            f"{name} has {candidate.size:,} tokens and {spec} {base.size:,}: there is nothing new to report; "
            f"name its base with --against"
        )
    return base


def _base_name(manifest: Mapping[str, Any], against: str | None) -> str:
    """Return what to call the base: its last part where it is a path, a hub id as it is."""
    spec = against or manifest.get("base", {}).get("name") or manifest["arguments"]["base"]
    return Path(spec).resolve().name if Path(spec).exists() else str(spec)


def _certificate(
    registry: Registry,
    candidate: Tokenizer,
    base: Tokenizer,
    folder: Path | None,
    manifest: Mapping[str, Any],
    lang: str | None,
    lines: Sequence[str],
    progress: Callable[[str], None],
) -> tuple[Mapping[str, Any], bool]:
    """Return the certificate that is stored, when it is of these two tokenizers, else a new one; and which it is."""
    from vocabkit.cli.verify import check
    from vocabkit.manifest import checksum

    stored = manifest.get("certificate")
    sizes = manifest.get("base", {}).get("size"), manifest.get("size")
    if folder and isinstance(stored, dict) and stored.get("checks") and sizes == (base.size, candidate.size):
        names = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
        if all(manifest["files"].get(name) == checksum(folder / name) for name in names):
            return stored, True
        console.note(f"note: {folder} has changed since its certificate was made; its guarantees are checked again")
    certificate = check(registry, candidate, base, folder, lang=lang, texts=lines, progress=progress)
    return certificate.to_json(), False


def _vocabulary(folder: Path | None) -> Vocabulary | None:
    from vocabkit.vocabulary.vocabulary_file import FILE_NAME, read_vocabulary

    path = folder / FILE_NAME if folder else None
    return read_vocabulary(path) if path and path.is_file() else None


def _curve(
    base: Tokenizer,
    candidate: Tokenizer,
    language: Language | None,
    manifest: Mapping[str, Any],
    vocabulary: Vocabulary | None,
    texts: Sequence[Sequence[str]],
) -> Curve:
    """Return the size curve on all texts but the last, with costs by the last; or nothing and why there is none.

    texts: the lines of each; of the last those in the language, which may be none.
    """
    from vocabkit.cli.sizing import shape_before, weighed
    from vocabkit.measure.size_curve import prefixes_of, size_curve, sizes
    from vocabkit.report.facts import Curve
    from vocabkit.vocabulary.merge import union
    from vocabkit.vocabulary.recipes import RECIPES
    from vocabkit.vocabulary.vocabulary_file import Vocabulary

    if not any(texts):
        return Curve(note="No text of the language was given; name one with --text.")
    if vocabulary is None or language is None:
        return Curve(
            note="The folder has no vocabulary.jsonl, which would say in what order its tokens were learned."
        )
    tokens = vocabulary.tokens
    is_union = manifest.get("arguments", {}).get("merger") in ("union", *RECIPES)

    def joined(size: int) -> Tokenizer:
        pieces = tuple(token.text for token in tokens[:size])
        return union(base, Vocabulary(pieces=pieces), language).tokenizer if size else base

    prefix = joined if is_union else prefixes_of(base, tokens)
    whole = prefix(len(tokens))
    if any(whole.encode(lines) != candidate.encode(lines) for lines in texts[:-1]):
        return Curve(
            note="vocabulary.jsonl does not make this tokenizer again, so its beginnings say nothing about it."
        )
    points = size_curve(prefix, sizes(len(tokens)), texts)
    shape, name = shape_before(base, candidate)
    costs = weighed(points, base, shape) if texts[-1] else []
    return Curve(tuple(replace(point, texts=point.texts[:-1]) for point in points), tuple(costs), name)


def _nearest(
    candidate: Tokenizer, base: Tokenizer, tokens: Sequence[NewTokenFacts], progress: Callable[[str], None]
) -> dict[int, tuple[tuple[bytes, float], ...]]:
    """Return the nearest old rows of the most frequent new tokens; nothing without weights that can be read."""
    from vocabkit.rows.checkpoint import holds_model, open_checkpoint
    from vocabkit.rows.nearest import nearest_rows

    folder = candidate.source
    if not (folder.is_dir() and holds_model(folder)):
        return {}
    progress("Comparing rows")
    try:
        rows = open_checkpoint(folder).input
    except VocabkitError as error:
        console.note(f"note: no nearest rows: {error}")
        return {}
    if rows.tensor.shape[0] < candidate.size:
        console.note(f"note: no nearest rows: {folder} has {rows.tensor.shape[0]:,} for {candidate.size:,} tokens")
        return {}
    ordinary = [token for token in tokens if not token.is_special]
    chosen = sorted(ordinary, key=lambda token: (-token.uses, -(token.count or 0), token.id))[:MOST_NEAREST]
    ids = sorted(token.id for token in chosen)
    names = {token_id: name for name, token_id in base.id_table.items()}
    found = nearest_rows(rows.values, ids, base.size)
    return {
        token_id: tuple((base.token_bytes(row) or names.get(row, "").encode(), cosine) for row, cosine in near)
        for token_id, near in zip(ids, found, strict=True)
    }
