"""Failures of the tokens: never produced, without merges, tied, added instead of learned, renumbered."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from vocabkit.diagnose.case import Case, examples
from vocabkit.diagnose.finding import Finding
from vocabkit.diagnose.patient import TOKENIZER_CONFIG
from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.model_proto import NORMAL, SPACE
from vocabkit.tokenizer.reach import reach

BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")
# A tokenizer has dozens of added tokens of its own; hundreds that are words were meant as vocabulary.
MANY_ADDED = 100
LINES_SHOWN = 20
# Of tied pieces that overlap: 中国 and 国人 make 中国人, which either may win.
LINES_MADE, PIECES_IN_A_LINE = 1000, 4


def other_family(case: Case) -> Finding | None:
    """The base is of another family than the patient, so it cannot be its base."""
    base = case.base.tokenizer if case.base else None
    tokenizer = case.patient.tokenizer
    if base is None or tokenizer is None or base.family == tokenizer.family:
        return None
    return Finding(
        "other family",
        f"the tokenizer is {tokenizer.family}, and that of the base {base.family}",
        "the tokenizer was replaced or converted: the base's rows mean other tokens now",
        "name the base it was made from with --against, or use the tokenizer that the rows were trained with",
        unsafe="which of the two is meant is not known",
    )


def unreachable(case: Case) -> Finding | None:
    """Tokens that are never produced, not even from their own text."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None:
        return None
    asked = reach(tokenizer, _no_byte_pieces(case, case.new_ids), beginnings=bool(case.first_new))
    dead = _not_even_whole(tokenizer, asked.dead)
    buried = _buried(case)
    if not dead and not buried:
        return None
    share = len(dead) / max(asked.asked, 1)
    said = f"{len(dead):,} of {asked.asked:,} {case.new} ({share:.1%}) can never be produced"
    said += _why_dead(case, dead)
    if buried:
        said += f"; {len(buried):,} of the base's can be produced no longer"
    return Finding(
        "unreachable tokens",
        said,
        "their rows take memory and probability, are never trained, and the text is spelled with smaller tokens",
        f"extend the base anew with `vocabkit extend --vocabulary`, which adds what it takes to produce each token, "
        f"or drops it{case.hint}",
        examples(case, (*buried, *dead)),
        unsafe="removing a token moves the ids after it, and adding merges changes how the model was trained to read",
    )


def missing_merges(case: Case) -> Finding | None:
    """Entries of a BPE vocabulary that no merge makes."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None or case.patient.json_path is None or tokenizer.json["model"].get("type") == "Unigram":
        return None
    dead = _without_merge(tokenizer.json)
    ids = [i for token, i in hf_json.vocabulary(tokenizer.json).items() if token in dead and i >= case.first_new]
    if not ids:
        return None
    whole = tokenizer.json["model"].get("ignore_merges")
    return Finding(
        "missing merges",
        f"no merge of tokenizer.json makes {len(ids):,} of its tokens",
        "they are produced only as whole words between cuts, and other programs do not know that shortcut"
        if whole
        else "they are never produced: tokens were written into the vocabulary without the merges that lead to them",
        f"extend the base anew with `vocabkit extend`, which writes a merge for every token{case.hint}",
        examples(case, sorted(ids)),
        unsafe="the order of merges decides every segmentation, and the model was trained without these",
    )


def score_ties(case: Case) -> Finding | None:
    """SentencePiece pieces with the same score, where the engines break the tie differently."""
    tokenizer: Any = case.patient.tokenizer
    if tokenizer is None or tokenizer.family != "sentencepiece_bpe" or not tokenizer.has_model:
        return None
    pieces = [(i, p.piece, p.score) for i, p in enumerate(tokenizer.proto.pieces) if p.type == NORMAL]
    counts = Counter(score for _, _, score in pieces)
    # LLaMA's runs of spaces share a score by design, and only ever meet each other.
    tied = [i for i, piece, score in pieces if counts[score] > 1 and i >= case.first_new and set(piece) != {SPACE}]
    if not tied:
        return None
    lines = _soup(case, tied)
    results = [encode(lines) for encode in tokenizer.engines.values()]
    differing = [line for line, *rows in zip(lines, *results, strict=True) if any(row != rows[0] for row in rows)]
    return Finding(
        "score ties",
        f"{len(tied):,} pieces share their score with another; sentencepiece and tokenizers segment "
        f"{len(differing):,} of {len(lines):,} lines differently",
        "which of two tied pieces is made depends on the program: sentencepiece takes the leftmost pair, a "
        "tokenizer.json the merge that is listed first",
        "serve with the engine that the model was trained with, and extend with `vocabkit extend` next time",
        (*(repr(line) for line in differing[:LINES_SHOWN]), *examples(case, tied[:LINES_SHOWN])),
        unsafe="new scores in the order of ids are another segmentation than the one that the model was trained on",
    )


def added_vocabulary(case: Case) -> Finding | None:
    """Hundreds of added tokens that are words: matched before the vocabulary, wherever they stand."""
    tokenizer = case.patient.tokenizer
    if tokenizer is None:
        return None
    words = [
        token
        for token in tokenizer.json.get("added_tokens") or []
        if not token.get("special") and token["id"] >= case.first_new and _is_word(token["content"])
    ]
    if len(words) < MANY_ADDED:
        return None
    return Finding(
        "added tokens as vocabulary",
        f"{len(words):,} added tokens are words or parts of words",
        "they are found in the text before it is cut: also inside other words, whose rest is then segmented as it "
        "never was in training; llama.cpp takes them for markup",
        "learn them as vocabulary: `vocabkit extend` on the base makes tokens with merges, below all old ones",
        tuple(f"{token['id']} {token['content']!r}" for token in words),
        unsafe="as vocabulary they would be segmented by merges, which changes what the model was trained on",
    )


def renumbered(case: Case) -> Finding | None:
    """Added tokens that the tokenizers library loads with other ids than the files say."""
    tokenizer: Any = case.patient.tokenizer
    if tokenizer is None or case.patient.json_path is None:
        return None
    said = hf_json.added_tokens(tokenizer.json)
    wrong = {token: (i, loaded) for token, i in said.items() if (loaded := tokenizer.hf.token_to_id(token)) != i}
    decoder = case.patient.settings[TOKENIZER_CONFIG].get("added_tokens_decoder")
    table = tokenizer.id_table
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        content = entry.get("content") if isinstance(entry, dict) else None
        if isinstance(content, str) and str(number).isdigit() and table.get(content, int(number)) != int(number):
            wrong.setdefault(content, (int(number), table[content]))
    if not wrong:
        return None
    token, (first, second) = next(iter(wrong.items()))
    return Finding(
        "renumbered tokens",
        f"{len(wrong):,} added tokens get another id than their file says, {token!r} {second} instead of {first}",
        "the token is read by the row of another one, or by none",
        "put each added token into the vocabulary of tokenizer.json at its id, as `vocabkit extend` does, and make "
        "added_tokens_decoder agree",
        tuple(f"{token!r}: {first} in the file, {second} when loaded" for token, (first, second) in wrong.items()),
        unsafe="which of the two ids the model was trained with is not known",
    )


def _no_byte_pieces(case: Case, ids: range) -> list[int]:
    """Return ids without byte pieces: what they stand for, the piece of their character stands for too."""
    return [i for i in ids if not BYTE_PIECE.fullmatch(case.spelled.get(i, ""))]


def _not_even_whole(tokenizer: Tokenizer, dead: tuple[int, ...]) -> tuple[int, ...]:
    """Return those among `dead` that are no whole words either, where words that are tokens are not merged."""
    if not tokenizer.json["model"].get("ignore_merges"):
        return dead
    texts = [(tokenizer.token_bytes(i) or b"").decode(errors="replace") for i in dead]
    produced = tokenizer.engines["tokenizers"](texts)
    return tuple(i for i, ids in zip(dead, produced, strict=True) if ids != [i])


def _buried(case: Case) -> tuple[int, ...]:
    """Return tokens that the base produces and its extension does not: new merges took what they are made from."""
    tokenizer = case.patient.tokenizer
    base = case.base.tokenizer if case.base else None
    if base is None or tokenizer is None or base.family != tokenizer.family:
        return ()
    shared = range(min(base.size, tokenizer.size))
    kept = [i for i in _no_byte_pieces(case, shared) if base.token_bytes(i) == tokenizer.token_bytes(i)]
    dead = _not_even_whole(tokenizer, reach(tokenizer, kept, beginnings=False).dead)
    before = set(reach(base, dead, beginnings=False).dead)
    return tuple(i for i in dead if i not in before)


def _why_dead(case: Case, dead: tuple[int, ...]) -> str:
    """Return how many of the dead tokens have no two parts that are tokens, where that can be the reason."""
    tokenizer: Any = case.patient.tokenizer
    if tokenizer.family != "sentencepiece_bpe" or not dead:
        return ""
    table = tokenizer.id_table
    words = [case.spelled.get(i, "") for i in dead]
    lonely = sum(
        not any(word[:cut] in table and word[cut:] in table for cut in range(1, len(word))) for word in words
    )
    return f"; {lonely:,} have no two parts in the vocabulary"


def _without_merge(data: dict[str, Any]) -> set[str]:
    model = data["model"]
    made = {"".join(pair if isinstance(pair, list) else pair.split(" ")) for pair in model.get("merges") or []}
    aside = {*hf_json.added_tokens(data), model.get("unk_token")}
    return {
        token
        for token in hf_json.vocabulary(data)
        if len(token) > 1 and token not in made and token not in aside and not BYTE_PIECE.fullmatch(token)
    }


def _soup(case: Case, tied: list[int]) -> list[str]:
    """Return the texts of the case, and lines of tied pieces that overlap by a character, where ties are decided."""
    words = [word for i in tied if len(word := case.spelled[i].replace(SPACE, " ")) > 1]
    by_first: dict[str, list[str]] = {}
    for word in words:
        by_first.setdefault(word[0], []).append(word)
    lines = []
    for start in range(0, len(words), max(1, len(words) // LINES_MADE)):
        line = words[start]
        for turn in range(PIECES_IN_A_LINE):
            following = by_first.get(line[-1])
            line += (
                following[(start + turn) % len(following)][1:] if following else words[(start + turn) % len(words)]
            )
        lines.append(line)
    return [*case.texts, *lines]


def _is_word(content: str) -> bool:
    """Return whether an added token is text rather than markup: "学习" and not "<|user|>" or a run of spaces."""
    bare = content.strip(f" {SPACE}")
    is_markup = bare[:1] in ("<", "[", "{") and bare[-1:] in (">", "]", "}")
    return not is_markup and any(c.isalpha() for c in bare)
