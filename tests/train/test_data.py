"""Text as sequences: packing, templates, caches, mixtures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from hypothesis import given
from hypothesis import strategies as st

from vocabkit.errors import VocabkitError
from vocabkit.model.chat import TEMPLATES, template_for
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.start import eos_id, start_id
from vocabkit.train.mixture import Mixture, batches
from vocabkit.train.packing import packed
from vocabkit.train.recipe import Recipe, key_of
from vocabkit.train.token_cache import TokenCache, open_cache
from vocabkit.train.token_writer import byte_lengths

LENGTHS = np.arange(50)


@given(
    st.lists(st.lists(st.integers(3, 49), max_size=20), max_size=8), st.integers(2, 9), st.sampled_from([1, 2, None])
)
def test_packing_learns_every_id_once(documents: list[list[int]], block_size: int, eos: int | None) -> None:
    found = packed(documents, LENGTHS, block_size, 1, eos)
    stream = [i for ids in documents for i in [1, *ids, *([eos] if eos == 2 else [])]]
    stream += [1] if eos == 1 and documents else []
    learned = [int(i) for n in range(len(found)) for i, is_learned in zip(*found.get(n), strict=True) if is_learned]
    assert learned == stream[1:]
    for n in range(len(found)):
        ids, is_learned = found.get(n)
        assert 2 <= len(ids) <= block_size
        assert not is_learned[0]
        assert found.bytes[n] == LENGTHS[ids[1:]].sum()


def cached(recipe: Recipe, folder: Path) -> tuple[TokenCache, list[Any]]:
    cache = open_cache(recipe, folder)
    facts = cache.facts()
    shards = [cache.shard(n) for n in range(facts["shards"])]
    assert cache.shard(facts["shards"]) is None
    return cache, [shard for shard in shards if shard is not None]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("one line of text\nanother, 第二行\n" * 50, encoding="utf-8")
    return path


def test_a_cache_holds_the_text_and_is_made_once(text: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(str(smollm2_folder), (str(text),), 32)
    cache, (shard,) = cached(recipe, tmp_path / "cache")
    tokenizer = open_tokenizer(smollm2_folder)
    ids = [int(i) for n in range(len(shard)) for i in shard.get(n)[0][1:]]
    start, end = start_id(tokenizer), eos_id(tokenizer)
    assert (start, end) == (tokenizer.id_table["<|endoftext|>"], tokenizer.id_table["<|im_end|>"])
    documents = tokenizer.decode([[i for i in ids if i not in (start, end)]])[0]
    assert documents == "".join(["one line of text", "another, 第二行"] * 50)
    assert shard.get(0)[0][0] == start
    assert (ids.count(start), ids.count(end)) == (99, 100)
    assert sum(shard.bytes) == cache.facts()["bytes"] == len(documents.encode())
    before = (cache.path / "done.json").stat().st_mtime_ns
    again = open_cache(recipe, tmp_path / "cache")
    assert again.path == cache.path
    assert again.is_done
    assert (cache.path / "done.json").stat().st_mtime_ns == before


def test_another_tokenizer_block_size_or_file_is_a_miss(
    text: Path, smollm2_folder: Path, deepseek_folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe(str(smollm2_folder), (str(text),), 32)
    key = key_of(recipe)
    others = [
        Recipe(str(deepseek_folder), (str(text),), 32),
        Recipe(str(smollm2_folder), (str(text),), 33),
        Recipe(str(smollm2_folder), (str(text),), 32, eos=False),
        Recipe(str(smollm2_folder), (str(text),), 32, template="alpaca"),
    ]
    keys = {key_of(other) for other in others}
    text.write_text(text.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    keys.add(key_of(recipe))
    assert len(keys | {key}) == len(others) + 2
    # One token more, in the same file, is another tokenizer.
    folder = tmp_path / "more"
    folder.mkdir()
    data = json.loads((smollm2_folder / "tokenizer.json").read_text(encoding="utf-8"))
    data["added_tokens"].append(data["added_tokens"][-1] | {"id": 49152, "content": "<|more|>"})
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    assert key_of(Recipe(str(folder), (str(text),), 32)) not in keys | {key}


def test_whole_files_can_be_documents(text: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(str(smollm2_folder), (str(text),), 512, documents="files")
    _, (shard,) = cached(recipe, tmp_path / "cache")
    ids = shard.ids
    tokenizer = open_tokenizer(smollm2_folder)
    learned = ids[shard.learned].tolist()
    assert learned.count(eos_id(tokenizer)) == 1
    assert tokenizer.decode([learned[:-1]])[0] == text.read_text(encoding="utf-8").strip()


def test_tokenising_runs_ahead_and_shards_come_in_order(smollm2_folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "big.txt"
    text.write_text("a line of some words\n" * 600_000, encoding="utf-8")
    cache = open_cache(Recipe(str(smollm2_folder), (str(text),), 512), tmp_path / "cache")
    first = cache.shard(0)
    was_done = cache.is_done
    assert first is not None
    assert not was_done, "the first shard was read before the last was written"
    assert cache.facts()["shards"] == 3


def test_a_killed_writer_is_no_trouble(text: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(str(smollm2_folder), (str(text),), 32)
    folder = tmp_path / "cache" / key_of(recipe)
    folder.mkdir(parents=True)
    (folder / "writer.lock").touch()
    (folder / "000000.partial").write_bytes(b"half")
    _, (shard,) = cached(recipe, tmp_path / "cache")
    assert len(shard) > 10


def test_text_that_cannot_be_read_is_counted_and_named(smollm2_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "good"}\n{"text": 3}\nnot json\n{"text": "also good"}\n', encoding="utf-8")
    cache, (shard,) = cached(Recipe(str(smollm2_folder), (str(path),), 32), tmp_path / "cache")
    problems = cache.facts()["problems"]
    assert any("1 record with no text in the field 'text'" in line for line in problems)
    assert any("invalid JSON" in line for line in problems)
    assert int(shard.bytes.sum()) == len("goodalso good")


def test_an_error_of_the_writer_is_the_reader_s(smollm2_folder: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.tsv"
    words.write_text("好\t5\n", encoding="utf-8")
    cache = open_cache(Recipe(str(smollm2_folder), (str(words),), 32), tmp_path / "cache")
    with pytest.raises(VocabkitError, match="list of words"):
        cache.shard(0)


def test_a_writer_that_dies_is_noticed(text: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    cache = open_cache(Recipe(str(smollm2_folder), (str(text),), 32), tmp_path / "cache")
    cache._writer.kill()
    with pytest.raises(VocabkitError, match="the process that tokenises ended with code -9"):
        cache.facts()


# ---- instructions

RECORDS = [
    {"instruction": "Translate.", "input": "你好", "output": "Hello"},
    {"instruction": "Count to two.", "input": "", "output": "one two"},
]


def write_records(path: Path, records: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return path


def decoded(folder: Path, shard: Any, number: int) -> tuple[str, str]:
    tokenizer = open_tokenizer(folder)
    ids, learned = shard.get(number)
    pieces = [
        [int(i) for i, is_learned in zip(ids, learned, strict=True) if bool(is_learned) == want] for want in (0, 1)
    ]
    return tuple(tokenizer.decode(pieces))  # type: ignore[return-value]


def test_alpaca_to_the_letter_and_only_the_response_is_learned(mistral: Any, tmp_path: Path) -> None:
    path = write_records(tmp_path / "sft.jsonl", RECORDS)
    cache, (shard,) = cached(Recipe("starter", (str(path),), 256, template="alpaca"), tmp_path / "cache")
    assert cache.facts()["cut"] == 0
    prompt = TEMPLATES["alpaca"].replace("{instruction}", "Translate.\n你好")
    assert prompt.endswith("### Response: ")
    ids, learned = shard.get(0)
    (written,), (response,) = mistral.encode([prompt]), mistral.encode(["Hello"])
    assert list(ids) == [1, *written, *response, 2]
    assert list(learned) == [False] * (len(written) + 1) + [True] * (len(response) + 1)


def test_the_tokenizer_s_own_template(smollm2_folder: Path, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model."},
        {"role": "user", "content": "真的？"}, {"role": "assistant", "content": "真的。"},
    ]  # fmt: skip
    folder = with_template(smollm2_folder, tmp_path)
    path = write_records(
        tmp_path / "chat.jsonl", [{"messages": turns}, {"conversations": [{"from": "gpt", "value": 3}]}]
    )
    cache, (shard,) = cached(Recipe(str(folder), (str(path),), 256, template="auto"), tmp_path / "cache")
    ids, learned = shard.get(0)
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    whole = theirs.apply_chat_template(turns, tokenize=False)
    assert list(ids) == theirs(whole, add_special_tokens=False)["input_ids"]
    assert theirs.decode(ids[learned]) == "A model.<|im_end|>\n真的。<|im_end|>\n"
    assert any("a message without a known role" in line for line in cache.facts()["problems"])


def with_template(tokenizer: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "chat"
    folder.mkdir()
    for path in tokenizer.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return folder


def test_records_as_one_json_array_and_as_parquet(smollm2_folder: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    array = tmp_path / "all.json"
    array.write_text(json.dumps([*RECORDS, "no object"]), encoding="utf-8")
    table = tmp_path / "all.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), table)
    lines = write_records(tmp_path / "all.jsonl", RECORDS)
    found = []
    for path in (array, table, lines):
        cache, (shard,) = cached(Recipe(str(smollm2_folder), (str(path),), 64, template="alpaca"), tmp_path / "cache")
        found.append(shard.ids.tolist())
        assert any("no JSON object" in line for line in cache.facts()["problems"]) == (path is array)
    assert found[0] == found[1] == found[2]


def test_what_is_longer_than_a_block_is_cut_and_counted(smollm2_folder: Path, tmp_path: Path) -> None:
    path = write_records(tmp_path / "long.jsonl", [{"instruction": "Go", "output": "word " * 100}])
    cache, (shard,) = cached(Recipe(str(smollm2_folder), (str(path),), 40, template="alpaca"), tmp_path / "cache")
    assert cache.facts()["cut"] == 1
    assert len(shard.get(0)[0]) == 40


def test_examples_without_room_for_a_response_are_left_out(smollm2_folder: Path, tmp_path: Path) -> None:
    records = [{"instruction": "word " * 100, "output": "yes"}, {"instruction": "Go", "output": "now"}]
    path = write_records(tmp_path / "long.jsonl", records)
    cache, (shard,) = cached(Recipe(str(smollm2_folder), (str(path),), 60, template="alpaca"), tmp_path / "cache")
    assert len(shard) == 1
    assert cache.facts()["problems"] == ["1 examples have no response within 60 tokens and were left out"]


def test_templates_that_are_not_there(smollm2_folder: Path) -> None:
    tokenizer = open_tokenizer("starter")
    assert template_for("auto", tokenizer, otherwise="alpaca") == "alpaca"
    with pytest.raises(VocabkitError, match="no chat template"):
        template_for("chat", tokenizer)
    with pytest.raises(VocabkitError, match="did you mean 'alpaca'"):
        template_for("alpacca", tokenizer)


# ---- mixtures


@pytest.fixture
def two(smollm2_folder: Path, tmp_path: Path) -> dict[str, TokenCache]:
    texts = {
        "zh": "汉字写成的一行，不长也不短。\n" * 300,
        "en": "A line that is written in English words only.\n" * 100,
    }
    found = {}
    for name, content in texts.items():
        path = tmp_path / f"{name}.txt"
        path.write_text(content, encoding="utf-8")
        found[name] = open_cache(Recipe(str(smollm2_folder), (str(path),), 64), tmp_path / "cache")
    return found


def test_shares_are_of_bytes_at_any_time(two: dict[str, TokenCache]) -> None:
    mixture = Mixture(two, {"en": 0.25}, 0)
    size = {"zh": 0, "en": 0}
    for number, drawn in enumerate(mixture.draw(400)):
        size[drawn.source] += drawn.bytes
        if number > 20:
            assert size["en"] / sum(size.values()) == pytest.approx(0.25, abs=0.05)
    assert size["en"] / sum(size.values()) == pytest.approx(0.25, abs=0.01)


def test_the_order_is_the_seed_s_and_can_be_resumed(two: dict[str, TokenCache]) -> None:
    def draw(mixture: Mixture, count: int) -> list[list[int]]:
        return [drawn.ids.tolist() for drawn in mixture.draw(count)]

    whole = draw(Mixture(two, {"en": 0.3}, 7), 300)
    again, other = Mixture(two, {"en": 0.3}, 7), Mixture(two, {"en": 0.3}, 8)
    first = draw(again, 137)
    later = Mixture(two, {"en": 0.3}, 7)
    later.restore(json.loads(json.dumps(again.state())))
    assert first + draw(later, 163) == whole
    assert draw(other, 300) != whole


def test_without_shuffling_the_order_is_the_text_s_in_every_pass(two: dict[str, TokenCache]) -> None:
    count = two["zh"].facts()["sequences"]
    shard = two["zh"].shard(0)
    assert shard is not None
    drawn = [one.ids.tolist() for one in Mixture({"zh": two["zh"]}, {}, 7, shuffle=False).draw(2 * count)]
    assert drawn[:3] == [shard.get(i)[0].tolist() for i in range(3)]
    assert drawn[:count] == drawn[count:]
    shuffled = [one.ids.tolist() for one in Mixture({"zh": two["zh"]}, {}, 7).draw(count)]
    assert sorted(shuffled) == sorted(drawn[:count])
    assert shuffled != drawn[:count]


def test_every_pass_sees_every_sequence(two: dict[str, TokenCache]) -> None:
    mixture = Mixture({"zh": two["zh"]}, {}, 0)
    count = two["zh"].facts()["sequences"]
    first, second = ([d.ids.tobytes() for d in mixture.draw(count)] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert mixture.state()["zh"]["pass"] in (1, 0)
    assert mixture.sequences_in_a_pass() == pytest.approx(count)


def test_a_pass_of_a_mixture_is_one_of_what_is_not_mixed_in(two: dict[str, TokenCache]) -> None:
    count = round(Mixture(two, {"en": 0.25}, 0).sequences_in_a_pass())
    drawn = Mixture(two, {"en": 0.25}, 0).draw(count)
    zh = sum(one.bytes for one in drawn if one.source == "zh")
    assert zh == pytest.approx(two["zh"].facts()["bytes"], rel=0.05)


@pytest.mark.parametrize(
    ("shares", "message"),
    [({"fr": 0.1}, "names no text"), ({"en": 1.0}, "leave something"), ({"en": -0.1}, "leave something"),
     ({"en": 0.2, "zh": 0.2}, "leave one text")],
)  # fmt: skip
def test_shares_that_cannot_be(two: dict[str, TokenCache], shares: dict[str, float], message: str) -> None:
    with pytest.raises(VocabkitError, match=message):
        Mixture(two, shares, 0)


def test_an_empty_text_is_named(smollm2_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n\n", encoding="utf-8")
    cache = open_cache(Recipe(str(smollm2_folder), (str(path),), 64), tmp_path / "cache")
    mixture = Mixture({"zh": cache}, {}, 0)
    with pytest.raises(VocabkitError, match="'zh' is empty"):
        mixture.draw(1)
    with pytest.raises(VocabkitError, match="'zh' is empty"):
        mixture.sequences_in_a_pass()


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5))
def test_processes_share_a_step_and_make_as_many_passes(count: int, micro_batch: int, world: int) -> None:
    drawn: Any = list(range(count))
    parts = [batches(drawn, micro_batch, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(one for part in parts for batch in part for one in batch) == drawn
    assert all(len(batch) <= micro_batch for part in parts for batch in part)


def test_lengths_are_of_text_alone(smollm2_folder: Path) -> None:
    tokenizer = open_tokenizer(smollm2_folder)
    lengths = byte_lengths(tokenizer)
    text = "Some text, 有汉字 too."
    (ids,) = tokenizer.encode([text])
    assert int(lengths[ids].sum()) == len(text.encode())
    assert lengths[tokenizer.id_table["<|endoftext|>"]] == 0


def test_who_waits_for_another_s_writer_goes_on_when_it_dies(
    text: Path, smollm2_folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe(str(smollm2_folder), (str(text),), 32)
    folder = tmp_path / "cache" / key_of(recipe)
    folder.mkdir(parents=True)
    code = "import sys, time; from vocabkit.files import lock; from pathlib import Path; "
    code += "held = lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(folder / "writer.lock")], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    cache = open_cache(recipe, tmp_path / "cache")
    assert cache._writer is None, "another one fills it"
    other.kill()
    other.communicate()
    assert cache.facts()["sequences"] > 10


def test_readers_are_told_apart_by_their_whole_name(smollm2_folder: Path) -> None:
    def key(*specs: str) -> str:
        return key_of(Recipe(str(smollm2_folder), specs, 32))

    assert key("hf:one/wiki") != key("hf:two/wiki")
    with pytest.raises(VocabkitError, match="write stdin to a file"):
        key("-")


def test_a_wait_ends_when_the_work_does(text: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    open_cache(Recipe(str(smollm2_folder), (str(text),), 32), tmp_path / "cache").facts()
    assert time.monotonic() - begun < 60
