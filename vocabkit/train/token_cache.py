"""Text as ids on disk, made once: by a process of its own, which runs ahead of whoever reads.

A cache is a folder named by a hash of everything that decides its ids, so that another tokenizer, another block size
or a changed file is another folder.  Shards appear whole, in order; `done.json` says that there are no more.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocabkit.copying import checksum_of
from vocabkit.corpus import Corpus, open_corpus
from vocabkit.corpus.sources import STDIN
from vocabkit.errors import VocabkitError
from vocabkit.files import lock, write_whole
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import eos_id, start_id
from vocabkit.train.chat import examples, template_for
from vocabkit.train.packing import Sequences, joined, packed

# Changes when the same text would give other sequences.
FORMAT = 1
# UTF-8 bytes of text in a shard: its sequences are shuffled together.
SHARD_BYTES = 4 << 20
DONE, FAILED, LOCK = "done.json", "failed.json", "writer.lock"
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Recipe:
    """What decides the sequences of a cache.

    specs: the corpus.  field, documents: how plain texts are read: "lines" or "files" are documents.
    template: None for text, else how instructions are written.
    """

    tokenizer: str
    specs: tuple[str, ...]
    block_size: int
    bos: bool = True
    eos: bool = True
    field: str = "text"
    documents: str = "lines"
    on_bad_text: str = "skip"
    template: str | None = None


def open_cache(recipe: Recipe, folder: Path, *, workers: int | None = None, writes: bool = True) -> TokenCache:
    """Return the cache of `recipe` below `folder`, begun by a process of its own if it is not there.

    writes: False for the processes of a run that only read.
    Raises VocabkitError when the corpus cannot be found.
    """
    path = folder / key_of(recipe)
    cache = TokenCache(path)
    if writes and not cache.is_done:
        cache.start(recipe, workers or os.cpu_count() or 1)
    return cache


def key_of(recipe: Recipe) -> str:
    """Return the name of the cache: a hash of the recipe, the tokenizer's files and those of the corpus."""
    corpus = open_corpus(recipe.specs, registry=load_plugins(), field=recipe.field)
    tokenizer = open_tokenizer(recipe.tokenizer)
    content = json.dumps(tokenizer.json, sort_keys=True, ensure_ascii=False)
    parts = {
        **asdict(recipe),
        "format": FORMAT,
        "shard": SHARD_BYTES,
        "tokenizer": hashlib.sha256(content.encode()).hexdigest(),
        "chat template": str(tokenizer.sidecars.chat_template) if recipe.template else None,
        "marks": [start_id(tokenizer), eos_id(tokenizer)],
        # A file is what it holds; what a reader gives is what its name says.
        "files": [checksum_of(path) for path in corpus.files],
        "names": [name for name in corpus.names if not Path(name).is_file()],
    }
    if STDIN in recipe.specs:
        raise VocabkitError("text to train on is read more than once; write stdin to a file and name that")
    parts.pop("specs")
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def byte_lengths(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return how many UTF-8 bytes of text every id stands for, [size]; 0 for special ones."""
    return np.array([len(tokenizer.token_bytes(i) or b"") for i in range(tokenizer.size)], np.int64)


class TokenCache:
    """Shards of sequences in a folder, which may still be growing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None
        self._start: Callable[[], None] | None = None
        self._loaded: tuple[int, Sequences] | None = None

    @property
    def is_done(self) -> bool:
        """Whether every shard is there."""
        return (self.path / DONE).is_file()

    def start(self, recipe: Recipe, workers: int) -> None:
        """Begin to fill the cache in a process of its own, unless one does so already."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / FAILED).unlink(missing_ok=True)
        except OSError as error:
            raise VocabkitError(f"cannot write to {self.path}: {error.strerror}; choose another --cache") from error
        self._start = partial(self.start, recipe, workers)
        if _is_locked(self.path / LOCK):
            return
        context = multiprocessing.get_context("spawn")
        self._writer = context.Process(target=_fill, args=(recipe, self.path, workers), daemon=True)
        self._writer.start()

    def facts(self) -> dict[str, Any]:
        """Return what was found in the text, waiting until all is read: sequences, bytes, tokens, problems."""
        self._wait(lambda: self.is_done)
        found: dict[str, Any] = json.loads((self.path / DONE).read_text(encoding="utf-8"))
        return found

    def shard(self, number: int) -> Sequences | None:
        """Return shard `number`, waiting until it is there; None when there are no so many."""
        if self._loaded is None or self._loaded[0] != number:
            path = self.path / f"{number:06d}.safetensors"
            self._wait(lambda: path.is_file() or self.is_done)
            if not path.is_file():
                return None
            self._loaded = (number, Sequences.load(path))
        return self._loaded[1]

    def close(self) -> None:
        """Stop the process that fills the cache, if there is one; the next run goes on without it."""
        if self._writer is not None and self._writer.is_alive():
            self._writer.kill()
            self._writer.join()
        self._writer = None

    def _wait(self, there: Callable[[], bool]) -> None:
        while not there():
            failed = self.path / FAILED
            if failed.is_file():
                raise VocabkitError(json.loads(failed.read_text(encoding="utf-8"))["error"])
            if self._writer is not None and not self._writer.is_alive() and not there() and not failed.is_file():
                raise VocabkitError(
                    f"the process that tokenises ended with code {self._writer.exitcode}; "
                    f"memory may have run out, try fewer --workers"
                )
            if self._writer is None and self._start and not _is_locked(self.path / LOCK) and not there():
                # Whoever was filling it has gone.
                self._start()
            time.sleep(POLL_SECONDS)


def _is_locked(path: Path) -> bool:
    """Whether a living process fills the cache."""
    if not path.is_file():
        return False
    held = lock(path)
    if held is not None:
        held.close()
    return held is None


def _fill(recipe: Recipe, path: Path, workers: int) -> None:
    """Write every shard, then `done.json`; or `failed.json` with the reason."""
    import signal

    # Signals are for the run, which stops this process when it has saved.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = str(workers)
    held = lock(path / LOCK, wait=True)
    try:
        if (path / DONE).is_file():
            return
        corpora = _corpora(recipe)
        tokenizer = open_tokenizer(recipe.tokenizer)
        facts: dict[str, Any] = {"shards": 0, "sequences": 0, "tokens": 0, "bytes": 0}
        cut = Cut()
        for number, sequences in enumerate(_shards(recipe, corpora, tokenizer, cut)):
            written = path / f"{number:06d}.{os.getpid()}.partial"
            sequences.save(written)
            written.replace(path / f"{number:06d}.safetensors")
            facts["shards"] += 1
            facts["sequences"] += len(sequences)
            facts["tokens"] += int(sequences.learned.sum())
            facts["bytes"] += int(sequences.bytes.sum())
        problems = [line for corpus in corpora for line in corpus.problems.summaries()]
        _write(path / DONE, {**facts, "cut": cut.shortened, "problems": [*problems, *cut.notes(recipe.block_size)]})
    except VocabkitError as error:
        _write(path / FAILED, {"error": str(error)})
    except Exception as error:
        # Whatever it is, the run that waits has to know it.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _write(
            path / FAILED, {"error": f"tokenising into {path} failed ({reason}); check its disk, or choose --cache"}
        )
    finally:
        if held is not None:
            held.close()


def _corpora(recipe: Recipe) -> list[Corpus]:
    """Return the corpus; one for each file where files are documents."""
    registry, how = load_plugins(), {"field": recipe.field, "on_bad_text": recipe.on_bad_text}
    whole = open_corpus(recipe.specs, registry=registry, **how)
    if recipe.documents != "files" or len(whole.files) != len(whole.names):
        return [whole]
    return [open_corpus([str(path)], registry=registry, **how) for path in whole.files]


@dataclass
class Cut:
    """Examples that were longer than a block: those that lost their end, and those of which no response was left."""

    shortened: int = 0
    dropped: int = 0

    def notes(self, block_size: int) -> list[str]:
        """Return what the user should know."""
        found = []
        if self.shortened:
            found.append(f"{self.shortened:,} examples are longer than {block_size} tokens and were cut")
        if self.dropped:
            found.append(f"{self.dropped:,} examples have no response within {block_size} tokens and were left out")
        return found


def _shards(recipe: Recipe, corpora: Sequence[Corpus], tokenizer: Tokenizer, cut: Cut) -> Iterator[Sequences]:
    """Yield the sequences of every SHARD_BYTES of text."""
    lengths = byte_lengths(tokenizer)
    bos = start_id(tokenizer) if recipe.bos else None
    eos = eos_id(tokenizer) if recipe.eos else None
    if recipe.template is not None:
        found: list[tuple[list[int], list[bool]]] = []
        template = template_for(recipe.template, tokenizer)
        # Prompt and response: about four bytes a token.
        every = (example for corpus in corpora for example in examples(corpus, tokenizer, template, bos, eos))
        for example in every:
            if not any(example[1][1 : recipe.block_size]):
                cut.dropped += 1
                continue
            cut.shortened += len(example[0]) > recipe.block_size
            found.append(example)
            if len(found) * recipe.block_size >= SHARD_BYTES // 4:
                yield joined(found, lengths, recipe.block_size)
                found = []
        if found:
            yield joined(found, lengths, recipe.block_size)
        return
    for documents in _groups(_documents(corpora, recipe.documents == "files")):
        yield packed(tokenizer.encode(documents), lengths, recipe.block_size, bos, eos)


def _documents(corpora: Sequence[Corpus], whole_files: bool) -> Iterator[str]:
    for corpus in corpora:
        held: list[str] = []
        for text in corpus:
            if not (text.starts or text.lines or held):
                raise VocabkitError(f"{', '.join(corpus.names)} is a list of words, and no text to train on")
            if whole_files and text.lines:
                held += ["\n" if held and text.starts else "", text.text]
                continue
            # Of a block of lines only the first may go on with what was before.
            for number, line in enumerate(text.text.split("\n") if text.lines else [text.text]):
                if held and (text.starts or number):
                    yield "".join(held)
                    held = []
                held.append(line)
        if held:
            yield "".join(held)


def _groups(documents: Iterator[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for document in documents:
        if not document.strip():
            continue
        group.append(document)
        size += len(document.encode())
        if size >= SHARD_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write(path: Path, data: dict[str, Any]) -> None:
    write_whole(path, json.dumps(data, ensure_ascii=False) + "\n")


def default_folder() -> Path:
    """Return where caches lie unless --cache says otherwise."""
    base = os.environ.get("VOCABKIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(base) / ("tokens" if os.environ.get("VOCABKIT_CACHE") else "vocabkit/tokens")


def problems_of(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return what could not be read, a line each."""
    return [line for one in facts for line in one["problems"]]
