"""Counts do not depend on workers, memory or batches, and nothing is left behind."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vocabkit.corpus import Text, count, count_spans
from vocabkit.corpus.merge import merge_runs
from vocabkit.corpus.runs import SpanCounter, memory_of
from vocabkit.errors import VocabkitError
from vocabkit.language import Language
from vocabkit.tokenizer.byte_level_bpe import PlainPreparer
from vocabkit.vocabulary.spans import SpanCutter

HAN = SpanCutter(PlainPreparer(), Language("zh", "Chinese", ((0x4E00, 0x9FFF),)))


def texts(num_texts: int = 400) -> Iterator[Text]:
    numbers = random.Random(5)
    for number in range(num_texts):
        # Zipf-like, so that there are ties, rare spans and frequent ones.
        words = (chr(0x4E00 + int(numbers.paretovariate(0.4)) % 20_000) * numbers.randrange(1, 3) for _ in range(200))
        yield Text(" ".join(words), weight=1 + number % 3, starts=bool(number % 2))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "BATCH_CHARACTERS", 5_000)
    monkeypatch.setattr(count, "BATCHES_BEFORE_WORKERS", 2)


def oracle() -> Counter[str]:
    found: Counter[str] = Counter()
    for text in texts():
        for span in HAN(text.text, text.starts, text.lines):
            found[span] += text.weight
    return found


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("max_memory", [2 << 30, 5_000_000, 1_000_000])
@pytest.mark.usefixtures("small_batches")
def test_workers_and_memory_do_not_change_the_counts(tmp_path: Path, workers: int, max_memory: int) -> None:
    num_reports = []
    found = count_spans(
        texts(), HAN, workers=workers, max_memory=max_memory,
        progress=lambda: num_reports.append(1), temporary_folder=tmp_path,
    )  # fmt: skip
    expected = oracle()
    assert found.total == expected.total()
    assert found.characters == sum(len(text.text) for text in texts())
    if max_memory > 1_000_000:
        assert found.counts == expected
        assert (found.dropped_spans, found.dropped_weight) == (0, 0)
    else:
        smallest = min(found.counts.values())
        assert found.counts == {span: number for span, number in expected.items() if number >= smallest}
        # One count less would not fit, and this one does.
        more = [span for span, number in expected.items() if number >= smallest - 1]
        assert memory_of(found.counts, len(found.counts)) <= max_memory < memory_of(more, len(more))
        assert found.dropped_spans == len(expected) - len(found.counts) > 0
        assert found.dropped_weight == found.total - sum(found.counts.values())
    assert len(num_reports) > 10
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.integers(1, 5), max_size=12), min_size=1, max_size=9),
    st.integers(1, 9_000),
    st.sampled_from([2, 64]),
    st.sampled_from([1, 3, 8192]),
)
def test_merged_runs_are_the_sums_of_all_that_fit(
    tmp_path_factory: pytest.TempPathFactory, parts: list[dict[str, int]], max_bytes: int, max_runs: int, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vocabkit.corpus.merge.MAX_RUNS", max_runs)
        patch.setattr("vocabkit.corpus.runs.SPANS_PER_CHUNK", chunk)
        counter = SpanCounter(lambda text, starts, lines: [text], folder, 1 << 30)
        expected: Counter[str] = Counter()
        for part in parts:
            counter.add(Text(span, weight=number) for span, number in part.items())
            counter.finish()
            expected.update(part)
        merged = merge_runs(counter.runs, folder, max_bytes)
    smallest = min((c for c in set(expected.values()) if fits(expected, c, max_bytes)), default=1 << 30)
    assert merged.counts == {span: number for span, number in expected.items() if number >= smallest}
    assert merged.dropped_weight == counter.total - sum(merged.counts.values())
    assert merged.dropped_spans == len(expected) - len(merged.counts)


def fits(counts: Counter[str], smallest: int, max_bytes: int) -> bool:
    spans = [span for span, number in counts.items() if number >= smallest]
    return memory_of(spans, len(spans)) <= max_bytes


def test_the_estimate_of_memory_is_no_less_than_what_is_taken() -> None:
    spans = [f"字{number}" for number in range(300_000)]
    counts = {span: 1000 + number for number, span in enumerate(spans)}
    taken = sys.getsizeof(counts) + sum(sys.getsizeof(s) + sys.getsizeof(n) for s, n in counts.items())
    assert taken <= memory_of(spans, len(spans)) <= 2 * taken


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("small_batches")
def test_an_error_of_the_corpus_ends_everything(tmp_path: Path, workers: int) -> None:
    def broken() -> Iterator[Text]:
        yield from texts()
        raise VocabkitError("the disk is on fire; leave")

    with pytest.raises(VocabkitError, match="on fire"):
        count_spans(broken(), HAN, workers=workers, max_memory=100_000, temporary_folder=tmp_path)
    assert_nothing_is_left(tmp_path)


@pytest.mark.usefixtures("small_batches")
def test_a_cut_that_cannot_be_pickled_is_found_before_any_process_starts(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"pickle|local object"):
        count_spans(texts(), lambda text, starts, lines: [], workers=2, temporary_folder=tmp_path)
    assert_nothing_is_left(tmp_path)


def test_nonsense_is_refused() -> None:
    with pytest.raises(VocabkitError, match="cannot count with 0 workers in"):
        count_spans([], HAN, workers=0)


def assert_nothing_is_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    assert children_of(os.getpid()) == []


def children_of(process_id: int) -> list[str]:
    """Return the counting processes of a process; multiprocessing's resource tracker stays and is not one."""
    found = []
    for line in subprocess.check_output(["ps", "-ww", "-eo", "ppid=,args="], text=True).splitlines():
        parent, _, arguments = line.strip().partition(" ")
        if int(parent) == process_id and "spawn_main" in arguments:
            found.append(arguments)
    return found


SCRIPT = """
import os, sys, time
from pathlib import Path
from vocabkit.corpus import Text, count, count_spans
from vocabkit.errors import UnknownNameError

count.BATCH_CHARACTERS, count.BATCHES_BEFORE_WORKERS = 5000, 2

class Cut:
    def __init__(self, how): self.how = how
    def __call__(self, text, starts, lines):
        if self.how == "raise" and "失" in text: raise UnknownNameError("thing", "x", ["y"])
        if self.how == "die" and "失" in text: os._exit(7)
        return list(text)

def texts(how):
    for number in range(60 if how != "endless" else 10**9):
        if number == 10: print("counting", flush=True)
        if number == 50: yield Text("失败" * 3000)
        yield Text("中文" * 3000)

if __name__ == "__main__":
    how, folder = sys.argv[1:]
    try:
        found = count_spans(texts(how), Cut(how), workers=2, max_memory=100_000_000, temporary_folder=Path(folder))
    except Exception as error:
        print(f"{type(error).__name__}: {error} {'in a counting process' in str(getattr(error, '__notes__', ''))}")
    else:
        print(found.counts)
    print("left:", os.listdir(folder))
"""


def start(tmp_path: Path, how: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "runs").mkdir()
    return subprocess.Popen(
        [sys.executable, str(script), how, str(tmp_path / "runs")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("count", "{'中': 180000, '文': 180000, '失': 3000, '败': 3000}"),
        # An error that cannot be pickled comes back with its message, and with where it was raised.
        ("raise", "VocabkitError: unknown thing 'x'; known: y True"),
        (
            "die",
            "VocabkitError: a counting process ended with exit code 7; if it was out of memory use fewer --workers",
        ),
    ],
)
def test_what_happens_in_a_worker_comes_back(tmp_path: Path, how: str, expected: str) -> None:
    process = start(tmp_path, how)
    output, errors = process.communicate(timeout=30)
    assert expected in output
    assert "left: []" in output
    assert errors == ""


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_an_interrupted_or_killed_parent(tmp_path: Path, signal_sent: signal.Signals) -> None:
    process = start(tmp_path, "endless")
    assert process.stdout is not None
    assert process.stdout.readline() == "counting\n"
    deadline = time.monotonic() + 20
    while len(children_of(process.pid)) < 2:
        assert time.monotonic() < deadline, "no workers were started"
        time.sleep(0.05)
    time.sleep(0.3)
    if signal_sent == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert "KeyboardInterrupt" in errors
        assert "spawn_main" not in errors
        assert list((tmp_path / "runs").iterdir()) == []
    else:
        process.kill()
        process.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.05)
