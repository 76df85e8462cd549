"""Byte-level BPE tokenizers (GPT-2, Llama-3, Qwen, SmolLM2, DeepSeek), as tokenizer.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as HfTokenizer

from vocabkit.tokenizer import hf_json
from vocabkit.tokenizer.base import SEPARATOR, NewToken, Spelling, Units, chunks
from vocabkit.tokenizer.boundaries import FIRST_LETTER, LAST_LETTER, MARKS, Boundaries, assembled, codes_of, parts_of
from vocabkit.tokenizer.byte_alphabet import bytes_of, spelling_of
from vocabkit.tokenizer.folder import Sidecars

# Encodings hold offsets and strings: 20,000 spans at a time stay below 100 MB.
SPANS_PER_BATCH = 20_000


@dataclass(frozen=True)
class PlainPreparer:
    """Byte-level tokenizers see the text as it is."""

    mark: str = " "

    def __call__(self, text: str, starts: bool, lines: bool) -> str:
        return text


class ByteLevelBpe:
    """A byte-level BPE tokenizer.json; its pre-tokenizer is kept as it is."""

    family = "byte_level_bpe"

    def __init__(self, source: Path, json: dict[str, Any], sidecars: Sidecars):
        self.source = source
        self.json = json
        self.sidecars = sidecars
        self.size = hf_json.size(json)
        self.padded_size = max(self.size, sidecars.vocab_size or 0)

    @cached_property
    def special_tokens(self) -> Mapping[str, int]:
        return hf_json.added_tokens(self.json)

    @cached_property
    def id_table(self) -> Mapping[str, int]:
        return hf_json.vocabulary(self.json) | hf_json.added_tokens(self.json)

    @cached_property
    def hf(self) -> HfTokenizer:
        return hf_json.build(self.json, self.source)

    @cached_property
    def engines(self) -> dict[str, Callable[[Sequence[str]], list[list[int]]]]:
        """Every implementation that can run this tokenizer, by name: text -> ids without BOS."""
        return {"tokenizers": lambda texts: hf_json.encode(self.hf, texts)}

    @cached_property
    def _cutter(self) -> HfTokenizer:
        """As `_span_tokenizer`, without tokens: made in no time, for where the pre-tokenizer cuts."""
        json = hf_json.without_prefix_space(self.json)
        model = {**json["model"], "vocab": {}, "merges": [], "unk_token": None}
        return hf_json.build({**json, "model": model, "added_tokens": []}, self.source)

    @cached_property
    def _span_tokenizer(self) -> HfTokenizer:
        return hf_json.build(hf_json.without_prefix_space(self.json), self.source)

    @cached_property
    def _bare_tokenizer(self) -> HfTokenizer:
        """As `_span_tokenizer`, but a whole pre-token must be merged too: other runtimes know no shortcut."""
        if not self.json["model"].get("ignore_merges"):
            return self._span_tokenizer
        json = hf_json.without_prefix_space(self.json)
        return hf_json.build({**json, "model": {**json["model"], "ignore_merges": False}}, self.source)

    @cached_property
    def _bytes(self) -> list[bytes | None]:
        table: list[bytes | None] = [None] * self.size
        for spelling, token_id in hf_json.vocabulary(self.json).items():
            if spelling not in self.special_tokens:
                try:
                    table[token_id] = bytes_of(spelling)
                except ValueError:
                    # An entry that is not spelled in the byte alphabet can never be produced.
                    continue
        return table

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        return {token: token_id for token_id, token in enumerate(self._bytes) if token is not None}

    def token_bytes(self, token_id: int) -> bytes | None:
        return self._bytes[token_id]

    def find(self, token: bytes) -> int | None:
        return self._ids.get(token)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return hf_json.encode(self.hf, texts)

    def encode_bare(self, tokens: Sequence[bytes]) -> list[list[int]]:
        return hf_json.encode(self._bare_tokenizer, [token.decode(errors="replace") for token in tokens])

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return self.hf.decode_batch([list(line) for line in ids], skip_special_tokens=False)

    def preparer(self) -> PlainPreparer:
        return PlainPreparer()

    def joins_anything(self) -> bool:
        return False

    def normalized(self, text: str) -> str:
        """Return `text` as the pre-tokenizer gets it."""
        normalizer = self._cutter.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def cuts(self, text: str) -> set[int]:
        """Return where the pre-tokenizer cuts a normalised text, its ends included: no token spans one of them."""
        pre_tokenizer = self._cutter.pre_tokenizer
        pieces = pre_tokenizer.pre_tokenize_str(text) if pre_tokenizer else [(text, (0, len(text)))]
        return {place for _, span in pieces for place in span}

    def units(self, spans: Sequence[str]) -> Units:
        """Segment spans; a character that takes several tokens becomes one closed unit.

        The pre-tokenizer's own cuts inside a span become separators.
        """
        starts_character = np.array([t is None or not 0x80 <= t[0] < 0xC0 for t in self._bytes], dtype=np.bool_)
        grouper = _Grouper(self.size)
        ids: list[NDArray[np.int32]] = []
        owners: list[NDArray[np.int32]] = []
        done = 0
        for batch in chunks(spans, SPANS_PER_BATCH):
            flat, owner = self._segment(batch)
            grouped, keep = grouper.group(flat, starts_character)
            ids.append(grouped)
            owners.append(owner[keep] + np.int32(done))
            done += len(batch)
        if not ids:
            return Units(np.empty(0, np.int32), np.empty(0, np.int32), ())
        return Units(np.concatenate(ids), np.concatenate(owners), self._spellings(grouper.groups))

    def _segment(self, spans: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """As `_flatten`, but each distinct part between hard boundaries is segmented only once."""
        text = "".join(spans)
        if not self._letters_stay_together or not text:
            return self._flatten(spans)
        lengths = np.fromiter(map(len, spans), np.intp, len(spans))
        span_starts = np.cumsum(lengths) - lengths
        is_place = np.zeros(len(text), np.bool_)
        is_place[self._boundaries.cut(text)] = True
        is_place[span_starts[lengths > 0]] = True
        places = np.flatnonzero(is_place)
        # A base that knows the language has few hard boundaries: its parts are long and hardly repeat.
        if len(places) * 2 < len(text):
            return self._flatten(spans)
        parts, which = parts_of(text, places)
        new = [part for part in parts if part not in self._segments]
        if new:
            flat, owner = self._flatten(new)
            # Without the separator at the end of each: the next part goes on with the pre-token.
            for part, segment in zip(new, np.split(flat, np.flatnonzero(np.diff(owner)) + 1), strict=True):
                self._segments[part] = segment[:-1]
        ids, place = assembled([self._segments[part] for part in parts], which)
        span_of_place = (np.searchsorted(span_starts, places, side="right") - 1).astype(np.int32)
        begins_pretoken = self._boundaries.is_cut(codes_of(text)[places])
        begins_pretoken[1:] |= np.diff(span_of_place) > 0
        starts = np.append(np.flatnonzero(np.diff(place)) + 1, len(ids))
        ends = starts[np.append(begins_pretoken[place[starts[:-1]]], True)]
        span = span_of_place[place]
        return np.insert(ids, ends, SEPARATOR), np.insert(span, ends, span[ends - 1])

    @cached_property
    def _boundaries(self) -> Boundaries:
        return Boundaries(self._bytes, [mark for mark in MARKS if len(self._pre_tokens(f"的{mark}的")[0]) == 1])

    @cached_property
    def _segments(self) -> dict[str, NDArray[np.int32]]:
        return {}

    @cached_property
    def _letters_stay_together(self) -> bool:
        """Whether a text may be cut between letters: the pre-tokenizer never does, and takes no short cuts."""
        letters = "".join(chr(c) for c in range(ord(FIRST_LETTER), ord(LAST_LETTER) + 1, 61))
        return len(self._pre_tokens(letters)) == 1 and not self.json["model"].get("ignore_merges")

    def _pre_tokens(self, text: str) -> list[str]:
        pre_tokenizer = self._span_tokenizer.pre_tokenizer
        if pre_tokenizer is None:
            return [text]
        return [text[start:end] for _, (start, end) in pre_tokenizer.pre_tokenize_str(text)]

    def _flatten(self, spans: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return all ids with a SEPARATOR wherever a pre-token ends, and the span of each position."""
        encodings = self._span_tokenizer.encode_batch(list(spans), add_special_tokens=False)
        flat: list[int] = []
        words: list[int | None] = []
        lengths: list[int] = []
        for encoding in encodings:
            flat += encoding.ids
            words += encoding.word_ids
            lengths.append(len(encoding.ids))
        ids = np.asarray(flat, np.int32)
        span = np.repeat(np.arange(len(spans), dtype=np.int32), lengths)
        if not len(ids):
            return ids, span
        word = np.asarray(words, dtype=np.float64)  # None, for an added token, becomes nan: a word of its own
        ends = np.flatnonzero((word[1:] != word[:-1]) | (span[1:] != span[:-1])) + 1
        ends = np.append(ends, len(ids))
        return np.insert(ids, ends, SEPARATOR), np.insert(span, ends, span[ends - 1])

    def _spellings(self, groups: list[tuple[int, ...]]) -> tuple[Spelling, ...]:
        spellings = []
        for group in groups:
            parts = [self._bytes[token_id] or b"" for token_id in group]
            prefixes = [b"".join(parts[:n]) for n in range(1, len(parts) + 1)]
            steps = (NewToken(prefixes[n], (prefixes[n - 1], parts[n]), 0) for n in range(1, len(parts)))
            spellings.append(Spelling(prefixes[-1], tuple(steps), saved=1))
        return tuple(spellings)

    def extended(self, tokens: Sequence[NewToken]) -> ByteLevelBpe:
        """Append tokens with their merges, ranked after every old one."""
        spellings = [spelling_of(token.token) for token in tokens]
        json = hf_json.with_tokens(self.json, spellings, first_id=self.size, join_old=False)
        return ByteLevelBpe(self.source, json, self.sidecars)

    def with_special_tokens(self, names: Sequence[str]) -> ByteLevelBpe:
        json = hf_json.with_special_tokens(self.json, names, first_id=self.size)
        return ByteLevelBpe(self.source, json, self.sidecars)

    def save(self, folder: Path) -> None:
        hf_json.write(self.json, folder / "tokenizer.json")
        self.sidecars.save(folder)


class _Grouper:
    """Joins the tokens of one character (or of a few, when a token straddles two) into one closed unit."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.groups: list[tuple[int, ...]] = []
        self._index: dict[tuple[int, ...], int] = {}

    def group(
        self, flat: NDArray[np.int32], starts_character: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
        """Return the ids with one unit per group, and the positions of `flat` that they came from."""
        if not len(flat):
            return flat, np.empty(0, np.intp)
        begins = (flat == SEPARATOR) | starts_character[flat]
        begins[0] = True
        keep = np.flatnonzero(begins)
        lengths = np.diff(np.append(keep, len(flat)))
        ids = flat[keep].copy()
        # One pass per group length: rows of equal length are made distinct together.
        for length in np.unique(lengths[lengths > 1]).tolist():
            rows = np.flatnonzero(lengths == length)
            members = flat[keep[rows][:, None] + np.arange(length)]
            _, first, which = np.unique(_packed(members), return_index=True, return_inverse=True)
            units = [self._unit(tuple(group)) for group in members[first].tolist()]
            ids[rows] = np.asarray(units, np.int32)[which.ravel()]
        return ids, keep

    def _unit(self, group: tuple[int, ...]) -> int:
        if group not in self._index:
            self._index[group] = len(self.groups)
            self.groups.append(group)
        return self.size + self._index[group]


def _packed(members: NDArray[np.int32]) -> NDArray[Any]:
    """Return one sortable key per row; up to three ids of 21 bits fit one integer, and sort much faster."""
    if members.shape[1] > 3 or members.max(initial=0) >= 1 << 21:
        return np.ascontiguousarray(members).view([("", np.int32)] * members.shape[1]).ravel()
    key = np.zeros(len(members), np.int64)
    for column in members.T:
        key = key << 21 | column
    return key
