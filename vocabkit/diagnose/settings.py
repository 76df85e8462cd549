"""Failures of the small files: the tokenizer's class, special tokens, chat templates."""

from __future__ import annotations

from typing import Any

from vocabkit.diagnose.case import Case, content_of, special_token
from vocabkit.diagnose.finding import Edit, Finding
from vocabkit.diagnose.patient import GENERATION_CONFIG, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG
from vocabkit.errors import VocabkitError
from vocabkit.rows.checkpoint import CONFIG
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.folder import TOKENIZER_CLASS

# Classes of transformers that build a pipeline of their own around the vocabulary, whatever tokenizer.json says, and
# the files that they read where there is none.  Without "Fast".
SENTENCEPIECE_CLASSES = {
    "LlamaTokenizer": ("tokenizer.model",),
    "CodeLlamaTokenizer": ("tokenizer.model",),
    "GemmaTokenizer": ("tokenizer.model",),
    "T5Tokenizer": ("spiece.model",),
    "AlbertTokenizer": ("spiece.model",),
    "PegasusTokenizer": ("spiece.model",),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model",),
    "MBartTokenizer": ("sentencepiece.bpe.model",),
    "NllbTokenizer": ("sentencepiece.bpe.model",),
}
BYTE_LEVEL_CLASSES = {
    "GPT2Tokenizer": ("vocab.json", "merges.txt"),
    "Qwen2Tokenizer": ("vocab.json", "merges.txt"),
    "RobertaTokenizer": ("vocab.json", "merges.txt"),
    "CodeGenTokenizer": ("vocab.json", "merges.txt"),
    "WhisperTokenizer": ("vocab.json", "merges.txt"),
    "GPTNeoXTokenizer": ("tokenizer.json",),
    "CohereTokenizer": ("tokenizer.json",),
}
# They add this token when the vocabulary has it not, which makes the tokenizer one longer than its rows.
ADDS_END_OF_TEXT = ("GPT2Tokenizer", "Qwen2Tokenizer")
END_OF_TEXT = "<|endoftext|>"
KEYS = ("bos_token", "eos_token", "pad_token")
LINES_ELSEWHERE = 400
LINES_SHOWN = 20


def tokenizer_class(case: Case) -> Finding | None:
    """tokenizer_config.json names a class that loads the tokenizer wrongly, or not at all."""
    tokenizer, folder = case.patient.tokenizer, case.patient.folder
    if tokenizer is None or folder is None:
        return None
    said = case.patient.settings[TOKENIZER_CONFIG].get("tokenizer_class")
    name = str(said or "").removesuffix("Fast")
    has_json = (folder / "tokenizer.json").is_file()
    wrong = _wrong_class(tokenizer, name, has_json, [path.name for path in folder.iterdir()])
    items: tuple[str, ...] = ()
    if not wrong and has_json and case.elsewhere is not None:
        wrong, items = _loaded_wrongly(case, tokenizer)
    if not wrong:
        return None
    mendable = has_json and said != TOKENIZER_CLASS
    return Finding(
        "tokenizer_class",
        f"{TOKENIZER_CONFIG} says {said}: {wrong}",
        "AutoTokenizer gives the model other ids than it was trained on, or none",
        f"set tokenizer_class to {TOKENIZER_CLASS}, which loads tokenizer.json as it is"
        if mendable
        else "write a tokenizer.json, as `vocabkit extend` does, or put the files there"
        if not has_json
        else "load tokenizer.json with the package tokenizers, and make it anew",
        items,
        edits=(Edit(TOKENIZER_CONFIG, ("tokenizer_class",), TOKENIZER_CLASS),) if mendable else (),
        unsafe="" if mendable else "the class is not at fault" if has_json else "there is no tokenizer.json",
    )


def unknown_special(case: Case) -> Finding | None:
    """tokenizer_config.json names a special token that the tokenizer does not have."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None:
        return None
    found = {key: special_token(case.patient, tokenizer, key) for key in KEYS}
    lost = {key: token for key, pair in found.items() if pair and pair[1] is None for token in pair[:1]}
    if not lost:
        return None
    said = ", ".join(f"{key} {token!r}" for key, token in lost.items())
    rows = case.patient.rows
    outside = rows is not None and tokenizer.size + len(lost) > rows
    return Finding(
        "unknown special token",
        f"{TOKENIZER_CONFIG} names {said}, which the tokenizer does not have",
        f"transformers adds it as id {tokenizer.size:,}"
        + (f", outside the {rows:,} rows" if outside else ", a row that stands for something else or nothing"),
        "name a token that is there (often eos_token as pad_token), or extend with `vocabkit extend --add-special`",
        tuple(lost.values()),
        unsafe="which token was meant is not known",
    )


def special_ids(case: Case) -> Finding | None:
    """config.json or generation_config.json say other ids for special tokens than the tokenizer has."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None:
        return None
    known = set(tokenizer.id_table.values())
    rows = case.patient.rows or tokenizer.size
    wrong, edits = [], []
    for key in KEYS:
        named = special_token(case.patient, tokenizer, key)
        token_id = named[1] if named else None
        for file in (CONFIG, GENERATION_CONFIG):
            said = _ids(case.patient.settings[file].get(f"{key}_id"))
            outside = [i for i in said if i >= rows or i not in known]
            if outside:
                wrong.append(f"{file} says {key}_id {outside[0]}, which is no token")
            elif said and token_id is not None and token_id not in said and _decides(case, file, key):
                wrong.append(f"{file} says {key}_id {_shown(said)}, and {named and named[0]!r} is {token_id}")
            else:
                continue
            if token_id is not None:
                kept = [i for i in said if i not in outside] if key == "eos_token" else []
                edits.append(Edit(file, (f"{key}_id",), [token_id, *kept] if kept else token_id))
    if not wrong:
        return None
    whole = len(edits) == len(wrong)
    return Finding(
        "special ids",
        "; ".join(wrong),
        "text does not stop, or begins and is padded with the wrong token",
        "take the ids of the tokenizer",
        edits=tuple(edits) if whole else (),
        unsafe="" if whole else f"{TOKENIZER_CONFIG} does not name the token that was meant",
    )


def special_map(case: Case) -> Finding | None:
    """special_tokens_map.json and tokenizer_config.json name different special tokens."""
    other, config = case.patient.settings[SPECIAL_TOKENS_MAP], case.patient.settings[TOKENIZER_CONFIG]
    pairs = {key: (content_of(config.get(key)), content_of(other.get(key))) for key in KEYS}
    wrong = [
        f"{key} is {said!r} in {TOKENIZER_CONFIG} and {mapped!r} in {SPECIAL_TOKENS_MAP}"
        for key, (said, mapped) in pairs.items()
        if said and mapped and said != mapped
    ]
    if not wrong:
        return None
    edits = [Edit(SPECIAL_TOKENS_MAP, (key,), config[key]) for key, (a, b) in pairs.items() if a and b and a != b]
    return Finding(
        "special tokens map",
        "; ".join(wrong),
        f"transformers 5 reads {TOKENIZER_CONFIG}, and older programs the map: they stop and pad differently",
        f"make {SPECIAL_TOKENS_MAP} say what {TOKENIZER_CONFIG} says",
        edits=tuple(edits),
    )


def special_drift(case: Case) -> Finding | None:
    """Special tokens are not those of the base."""
    if case.base is None or case.base.tokenizer is None or case.patient.tokenizer is None:
        return None
    wrong = []
    for key in KEYS:
        old = special_token(case.base, case.base.tokenizer, key)
        new = special_token(case.patient, case.patient.tokenizer, key)
        if old and new and old != new:
            wrong.append(f"{key} was {old[0]!r} ({old[1]}) and is {new[0]!r} ({new[1]})")
    before, after = case.base.tokenizer.special_tokens, case.patient.tokenizer.id_table
    moved = [f"{token!r} was {i} and is {after.get(token)}" for token, i in before.items() if after.get(token) != i]
    if not wrong and not moved:
        return None
    return Finding(
        "special token drift",
        "; ".join([*wrong, *([f"{len(moved):,} special tokens moved or are gone"] if moved else [])]),
        "prompts and ends of text that the base was trained with mean something else now",
        "keep the base's special tokens at their ids, unless a fine-tuning was meant to change them",
        (*wrong, *moved),
        unsafe="a fine-tuning may have meant it",
    )


def chat_template(case: Case) -> Finding | None:
    """Two chat templates that differ: in the folder, or from the base's."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None:
        return None
    jinja = tokenizer.sidecars.copied.get("chat_template.jinja")
    inside = tokenizer.sidecars.config.get("chat_template")
    wrong = []
    if jinja is not None and isinstance(inside, str) and jinja.decode(errors="replace") != inside:
        wrong.append(f"chat_template.jinja and the chat_template of {TOKENIZER_CONFIG} differ")
    base = case.base.tokenizer.sidecars.chat_template if case.base and case.base.tokenizer else None
    if base is not None and tokenizer.sidecars.chat_template is None:
        wrong.append("the base's chat template is gone")
    elif base is not None and tokenizer.sidecars.chat_template != base:
        wrong.append("the chat template is not the base's")
    if not wrong:
        return None
    return Finding(
        "chat template",
        "; ".join(wrong),
        "programs frame a conversation differently from each other, or from how the model was trained",
        "keep the template that the model was trained with, in chat_template.jinja alone",
        unsafe="which template the model was trained with is not known",
    )


def _wrong_class(tokenizer: Tokenizer, name: str, has_json: bool, files: list[str]) -> str:
    byte_level = tokenizer.family == "byte_level_bpe"
    if has_json and byte_level and name in SENTENCEPIECE_CLASSES:
        return "a class for SentencePiece, and tokenizer.json is byte-level; transformers 5.8 to 5.15 load it wrongly"
    if has_json and not byte_level and name in BYTE_LEVEL_CLASSES:
        return "a class for byte-level BPE, and tokenizer.json is SentencePiece's; transformers 5 loads it wrongly"
    if name in ADDS_END_OF_TEXT and END_OF_TEXT not in tokenizer.id_table:
        return f"the class adds {END_OF_TEXT} where it is missing, and makes the tokenizer one token longer"
    needed = {**SENTENCEPIECE_CLASSES, **BYTE_LEVEL_CLASSES}.get(name, ("tokenizer.json",))
    missing = [file for file in needed if file not in files]
    if name and not has_json and missing:
        return f"the class reads {' and '.join(missing)}, not there, and there is no tokenizer.json either"
    return ""


def _loaded_wrongly(case: Case, tokenizer: Tokenizer) -> tuple[str, tuple[str, ...]]:
    """Return how the installed transformers loads the tokenizer otherwise than tokenizer.json says, with lines."""
    assert case.elsewhere is not None
    assert case.patient.folder is not None
    step = max(1, len(case.texts) // LINES_ELSEWHERE)
    lines = list(case.texts[::step])
    try:
        results = case.elsewhere(case.patient.folder, lines)
    except VocabkitError as error:
        return f"it does not load ({error})", ()
    if "AutoTokenizer" not in results:
        case.patient.unchecked.append("what AutoTokenizer makes of it: transformers is not installed")
        return "", ()
    expected = tokenizer.engines["tokenizers"](lines)
    pairs = zip(lines, expected, results["AutoTokenizer"], strict=True)
    differing = [line for line, a, b in pairs if a != b]
    if not differing:
        return "", ()
    said = f"AutoTokenizer gives other ids than tokenizer.json on {len(differing):,} of {len(lines):,} lines"
    return said, tuple(repr(line) for line in differing[:LINES_SHOWN])


def _decides(case: Case, file: str, key: str) -> bool:
    """Return whether `file` is the one that programs ask: config.json only where generation_config.json is silent."""
    return file == GENERATION_CONFIG or f"{key}_id" not in case.patient.settings[GENERATION_CONFIG]


def _ids(value: Any) -> list[int]:
    if isinstance(value, bool) or value is None:
        return []
    return [value] if isinstance(value, int) else [i for i in value if isinstance(i, int)]


def _shown(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
