"""The checks behind the certificate, one function each; every one compares real encodings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vocabkit.manifest import changed_files, read_manifest
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_alphabet import is_text, readable
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.fresh_process import encode_in_fresh_process
from vocabkit.vocabulary.new_tokens import unreachable
from vocabkit.vocabulary.verify import Case, Check

PAD_TO = 64  # rows: a multiple of the tensor-core tile, and what vLLM pads to


def g1_ids_kept(case: Case) -> Check:
    """Every base token keeps its id."""
    new = case.candidate.id_table
    moved = [token for token, token_id in case.base.id_table.items() if new.get(token) != token_id]
    total = len(case.base.id_table)
    return _check("G1", "every base token keeps its id", moved, f"{total:,} tokens of the base compared")


def g2_specials_kept(case: Case) -> Check:
    """Special tokens, added tokens, post-processor and chat template are unchanged."""
    wrong = []
    old, new = case.base.special_tokens, case.candidate.special_tokens
    wrong += [f"special token {name!r} changed" for name, token_id in old.items() if new.get(name) != token_id]
    extra = set(new) - set(old) - case.added_specials
    wrong += [f"special token {name!r} was not in the base" for name in sorted(extra)]
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if case.candidate.json.get(part) != case.base.json.get(part):
            wrong.append(f"{part} of tokenizer.json changed")
    if case.candidate.sidecars.chat_template != case.base.sidecars.chat_template:
        wrong.append("chat template changed")
    detail = f"{len(old):,} special and added tokens, pipeline and chat template compared"
    return _check("G2", "special tokens, post-processor and chat template unchanged", wrong, detail)


def g3_round_trip(case: Case) -> Check:
    """What the base gives back unchanged, the candidate does too: every Unicode scalar, mixed text, noise."""
    wrong = []
    blocks = list(probes.scalar_blocks())
    joined = ["\n".join(block) for block in blocks]
    after = _there_and_back(case.candidate, joined)
    doubtful = [number for number, text in enumerate(joined) if after[number] != text]
    # Most often the base loses the same.
    before = _there_and_back(case.base, [joined[number] for number in doubtful])
    for number, back in zip(doubtful, before, strict=True):
        if after[number] != back:
            wrong += [f"U+{ord(c):04X}" for c in _lost(case, blocks[number])]
    lines = [
        *probes.mixed_lines(),
        *probes.english_lines(),
        *case.target,
        *probes.token_soup(case.new_texts(), 500),
    ]
    wrong += [repr(line) for line in _lost(case, lines)]
    detail = f"1,112,064 Unicode scalars and {len(lines):,} mixed lines there and back"
    return _check("G3", "lossless round trip wherever the base has one", wrong, detail)


def g4_coarsening(case: Case) -> Check:
    """Every new segmentation only joins tokens of the old one, so it is never longer."""
    soup = probes.token_soup(case.new_texts())
    lines = [
        *case.target,
        *case.other,
        *soup,
        *probes.mixed_lines(),
        *probes.english_lines(),
        *probes.code_lines(),
    ]
    old, new = case.base.encode(lines), case.candidate.encode(lines)
    longer = [line for line, a, b in zip(lines, old, new, strict=True) if len(b) > len(a)]
    split = [
        line
        for line, a, b in zip(lines, old, new, strict=True)
        if a != b and not _is_coarser(_ends(case.base, a), _ends(case.candidate, b))
    ]
    wrong = list(dict.fromkeys([*longer, *split]))
    detail = (
        f"{len(lines):,} lines; {len(longer):,} longer than before, {len(split):,} cut where the base does not cut"
    )
    return _check("G4", "new segmentations only join old tokens", [repr(line) for line in wrong], detail)


def g5_drift(case: Case) -> Check:
    """Text without the target script is segmented exactly as before; where English shares it, nearly all text is."""
    sets = {
        "English": probes.english_lines() + case.base_text,
        "code": probes.code_lines(),
        "mixed": tuple(line for line in probes.mixed_lines() if not case.owns(line)),
        "given": case.other,
    }
    wrong, counts = [], []
    for name, lines in sets.items():
        if lines:
            pairs = zip(lines, case.base.encode(lines), case.candidate.encode(lines), strict=True)
            changed = [line for line, old, new in pairs if old != new]
            share = f" ({len(changed) / len(lines):.2%})" if case.max_drift else ""
            counts.append(f"{len(changed):,} of {len(lines):,} {name}{share}")
            if len(changed) > case.max_drift * len(lines):
                wrong += [repr(line) for line in changed]
    title = "text without the target script is untouched"
    if case.max_drift:
        title = f"at most {case.max_drift:.2%} of the lines that share the script change"
    return _check("G5", title, wrong, "changed lines: " + ", ".join(counts))


def g6_reachable(case: Case) -> Check:
    """Every new token is produced from its own text."""
    candidate = case.candidate
    tokens = [(i, token) for i in case.new_ids if (token := candidate.token_bytes(i)) is not None]
    partial = [token for _, token in tokens if not is_text(token)]
    dead = set(unreachable(candidate, case.new_ids))
    # Beginnings of characters last.
    names = [
        readable(token)
        for is_whole in (True, False)
        for i, token in tokens
        if i in dead and is_text(token) == is_whole
    ]
    detail = f"{len(names):,} of {len(tokens):,} new tokens can never be produced"
    if partial:
        detail += f"; {len(partial):,} are beginnings of characters"
    return _check("G6", "every new token can be produced", names, detail)


def g7_engines_agree(case: Case) -> Check:
    """sentencepiece, tokenizers and a fresh process give the same ids."""
    lines = [
        *case.target,
        *probes.token_soup(case.new_texts(), 1000),
        *probes.english_lines(),
        *probes.mixed_lines(500),
    ]
    engines = case.candidate.engines
    results = {name: encode(lines) for name, encode in engines.items()}
    # Where the base's own engines differ (white space, look-alikes of special tokens) nothing can be asked.
    base_results = [encode(lines) for encode in case.base.engines.values()]
    sane = [all(row == rows[0] for row in rows) for rows in zip(*base_results, strict=True)]
    if case.folder is not None and (case.folder / "tokenizer.json").is_file():
        results |= encode_in_fresh_process(case.folder, lines)
    reference = results["tokenizers"]
    wrong: dict[str, None] = {}
    notes = []
    for name, result in results.items():
        pairs = zip(lines, sane, reference, result, strict=True)
        different = [line for line, is_sane, a, b in pairs if is_sane and a != b]
        if name != "tokenizers":
            notes.append(f"{name} differs on {len(different):,}")
        wrong |= dict.fromkeys(repr(line) for line in different)
    if "AutoTokenizer" not in results:
        notes.append("AutoTokenizer not asked (needs a saved folder and transformers)")
    detail = f"{sum(sane):,} lines against tokenizers: " + ", ".join(notes)
    return _check("G7", "all engines give the same ids", list(wrong), detail)


def g8_batch(case: Case) -> Check:
    """Batches of any size on any number of threads give what single texts give."""
    lines = [
        *case.target,
        *probes.english_lines(),
        *probes.token_soup(case.new_texts(), 200),
        *probes.mixed_lines(200),
    ]
    wrong = []
    for name, encode in case.candidate.engines.items():
        single = [encode([line])[0] for line in lines]
        if encode(lines) != single:
            wrong.append(f"{name}: one batch")
        with _one_thread():
            if encode(lines) != single:
                wrong.append(f"{name}: one thread")
    return _check("G8", "batch equals single, on any number of threads", wrong, f"{len(lines):,} lines")


def g9_same_bytes(case: Case) -> Check:
    """Writing the tokenizer again gives the same bytes, and its files are as its manifest says."""
    wrong = []
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        case.candidate.save(Path(first))
        (case.rebuild() if case.rebuild else case.candidate).save(Path(second))
        wrong += [f"{name} differs between two runs" for name in _different(Path(first), Path(second))]
        detail = "made twice" if case.rebuild else "written twice"
        manifest = read_manifest(case.folder) if case.folder else None
        if case.folder and manifest:
            wrong += [f"{name} is not the file that was written" for name in changed_files(case.folder, manifest)]
            detail += f", {len(manifest['files'])} files compared with {case.folder.name}/vocabkit.json"
    return _check("G9", "the same inputs give the same bytes", wrong, detail)


def g12_padding(case: Case) -> Check:
    """Padded to a multiple of 64 rows, never below the base's rows, and no padding id is a token."""
    rows = padded_rows(case.base, case.candidate.size)
    wrong = []
    if case.candidate.size > rows:
        wrong.append(f"{case.candidate.size:,} ids do not fit {rows:,} rows")
    unnamed = case.candidate.size - len(set(case.candidate.id_table.values()))
    if unnamed > case.base.size - len(set(case.base.id_table.values())):
        wrong.append(f"{unnamed:,} ids below {case.candidate.size:,} have no token")
    detail = f"{case.candidate.size:,} tokens in {rows:,} rows; the base has {case.base.padded_size:,}"
    return _check("G12", f"rows padded to a multiple of {PAD_TO}, padding never produced", wrong, detail)


CHECKS: tuple[Callable[[Case], Check], ...] = (
    g1_ids_kept, g2_specials_kept, g3_round_trip, g4_coarsening, g5_drift,
    g6_reachable, g7_engines_agree, g8_batch, g9_same_bytes, g12_padding,
)  # fmt: skip


def padded_rows(base: Tokenizer, size: int) -> int:
    """Return the rows that `size` tokens need: a multiple of 64, and never fewer than the base has."""
    rows = max(size, base.padded_size)
    return -(-rows // PAD_TO) * PAD_TO


def _check(name: str, title: str, wrong: Sequence[str], detail: str) -> Check:
    return Check(name, title, not wrong, detail, tuple(wrong))


def _there_and_back(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    return tokenizer.decode(tokenizer.encode(texts))


def _lost(case: Case, texts: Sequence[str]) -> list[str]:
    """Return the texts that the base gives back and the candidate does not."""
    after = zip(texts, _there_and_back(case.candidate, texts), strict=True)
    doubtful = [text for text, back in after if back != text]
    return [text for text, back in zip(doubtful, _there_and_back(case.base, doubtful), strict=True) if back == text]


def _ends(tokenizer: Tokenizer, ids: Iterable[int]) -> set[int] | None:
    """Return where each token ends, in bytes of the normalised text; None when one stands for no bytes."""
    end = 0
    ends = set()
    for token_id in ids:
        token = tokenizer.token_bytes(token_id)
        if token is None:
            return None
        end += len(token)
        ends.add(end)
    return ends


def _is_coarser(old: set[int] | None, new: set[int] | None) -> bool:
    return old is None or new is None or new <= old


@contextmanager
def _one_thread() -> Iterator[None]:
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _different(first: Path, second: Path) -> list[str]:
    names = {path.relative_to(root) for root in (first, second) for path in root.rglob("*") if path.is_file()}
    same = [name for name in names if (first / name).is_file() and (second / name).is_file()]
    equal = {name for name in same if (first / name).read_bytes() == (second / name).read_bytes()}
    return sorted(str(name) for name in names - equal)
