"""Every known failure is named in a folder that has it, alone, and in no folder that vocabkit writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import data_file

from vocabkit.diagnose.checks import CHECKS, diagnose
from vocabkit.diagnose.finding import Finding
from vocabkit.diagnose.mend import mend
from vocabkit.errors import TokenizerError, VocabkitError
from vocabkit.manifest import changed_files, read_manifest
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import Tokenizer

# As conftest.py makes them.
OLD, NEW, ROWS = 2048, 300, 2368
INPUT, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Break = Callable[[Path], None]


def change(folder: Path, file: str, **values: Any) -> None:
    """Set values in a JSON file; None removes one."""
    path = folder / file
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = {key: value for key, value in (data | values).items() if value is not None}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def change_weights(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    weights = {name: np.array(values) for name, values in load_file(folder / "model.safetensors").items()}
    edit(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def change_tokenizer(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    edit(data)
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def set_rows(name: str, make: Callable[[Any], Any], first: int = OLD, number: int = NEW) -> Break:
    """Put rows that `make` makes of the matrix in the place of new ones."""

    def edit(weights: dict[str, Any]) -> None:
        weights[name][first : first + number] = make(weights[name])

    return lambda folder: change_weights(folder, edit)


def near(values: Any) -> Any:
    """As transformers resizes: the mean of all rows, and next to no noise."""
    noise = np.random.default_rng(0).standard_normal((NEW, values.shape[1])) * 1e-6
    return (values.mean(0) + noise).astype(values.dtype)


def never_used(weights: dict[str, Any]) -> None:
    """Padding and 20 new rows in one small heap, far from everything."""
    values = weights[HEAD]
    noise = np.random.default_rng(0).standard_normal((20 + ROWS - OLD - NEW, values.shape[1])) * 1e-3
    noise[:20] /= 2
    heap = (5 + noise).astype(values.dtype)
    values[OLD : OLD + 20], values[OLD + NEW :] = heap[:20], heap[20:]


def drawn(weights: dict[str, Any]) -> None:
    """Old rows of all lengths, as training leaves them, and new ones from one normal distribution."""
    generator = np.random.default_rng(0)
    values = weights[INPUT]
    values[:OLD] *= generator.uniform(0.2, 2.5, (OLD, 1)).astype(values.dtype)
    values[OLD : OLD + NEW] = generator.standard_normal((NEW, values.shape[1])) * 0.02


def without_merges(data: dict[str, Any]) -> None:
    new = {token for token, i in data["model"]["vocab"].items() if i >= OLD + NEW - 40}
    data["model"]["merges"] = [pair for pair in data["model"]["merges"] if "".join(pair) not in new]


def added_words(data: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    words = [f"学习{chr(0x4E00 + i)}" for i in range(120)]
    names = {token: i for i, token in enumerate(words, len(data["model"]["vocab"]))}
    data["model"]["vocab"] = {t: i for t, i in data["model"]["vocab"].items() if i < OLD}
    data["added_tokens"] += [{"id": OLD + i, "content": word, **flags} for i, word in enumerate(names)]
    data["model"]["merges"] = [p for p in data["model"]["merges"] if "".join(p) in data["model"]["vocab"]]


def far_token(data: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    data["added_tokens"].append({"id": ROWS + 28, "content": "<|far|>", **flags, "special": True})
    data["model"]["vocab"]["<|far|>"] = ROWS + 28


def moved_token(data: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    data["added_tokens"].append({"id": OLD + NEW + 7, "content": "<|moved|>", **flags, "special": True})


def as_two_shards(folder: Path) -> dict[str, str]:
    """Write the weights as two shards and return the index's map."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / shard, {"format": "pt"})
    return {name: shard for shard, held in shards.items() for name in held}


def index(folder: Path, edit: Callable[[dict[str, str]], object]) -> None:
    where = as_two_shards(folder)
    edit(where)
    change(folder, "model.safetensors.index.json", metadata={}, weight_map=where)


def cut_shard(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])


def template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")


# What is done to a sound model -> what is found, a part of the evidence, and whether `--fix` mends it.
FAILURES: dict[str, tuple[Break, str, str, bool]] = {
    "flag true, head apart": (
        lambda f: change(f, "config.json", tie_word_embeddings=True),
        "tied flag", f"{HEAD} differs from {INPUT} in 2,368 of 2,368 rows", True,
    ),
    "an id beyond the rows": (
        lambda f: change_tokenizer(f, far_token),
        "too few rows", "2,397 ids, and model.embed_tokens.weight 2,368 rows: 1 tokens", False,
    ),
    "config of the base": (
        lambda f: change(f, "config.json", vocab_size=OLD), "vocab_size", "says vocab_size 2048", True,
    ),
    "head not resized": (
        lambda f: change_weights(f, lambda w: w.update({HEAD: w[HEAD][:OLD]})),
        "head length", "lm_head.weight has 2,048 rows", False,
    ),
    "rows all equal": (
        set_rows(INPUT, lambda v: v[7] * 2), "untrained rows", "(299 equal to another)", False,
    ),
    "rows of zeros": (
        set_rows(HEAD, lambda v: np.zeros(v.shape[1])), "untrained rows", "300 far shorter than the old ones", False,
    ),
    "rows at the mean": (set_rows(HEAD, near), "untrained rows", "300 at the mean of the old ones", False),
    "rows among unused ones": (
        lambda f: change_weights(f, never_used), "untrained rows", "20 among rows that were never used", False,
    ),
    "rows drawn at random": (
        lambda f: change_weights(f, drawn), "untrained rows", "300 with the lengths of random vectors", False,
    ),
    "a row of NaN": (
        set_rows(INPUT, lambda v: np.full(v.shape[1], np.nan), number=2),
        "no numbers", "2 of 2,368 rows of model.embed_tokens.weight", False,
    ),
    "a class for SentencePiece": (
        lambda f: change(f, "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast"),
        "tokenizer_class", "a class for SentencePiece, and tokenizer.json is byte-level", True,
    ),
    "eos of another model": (
        lambda f: change(f, "generation_config.json", eos_token_id=[5, 6]),
        "special ids", "generation_config.json says eos_token_id 5, 6, and '<|im_end|>' is 2", True,
    ),
    "pad outside the rows": (
        lambda f: change(f, "config.json", pad_token_id=ROWS),
        "special ids", "pad_token_id 2368, which is no token", False,
    ),
    "a pad token that is not there": (
        lambda f: change(f, "tokenizer_config.json", pad_token="[PAD]"),
        "unknown special token", "names pad_token '[PAD]'", False,
    ),
    "the map says otherwise": (
        lambda f: change(f, "special_tokens_map.json", eos_token={"content": "<|im_start|>"}),
        "special tokens map", "eos_token is '<|im_end|>' in tokenizer_config.json and '<|im_start|>'", True,
    ),
    "two templates": (template, "chat template", "chat_template.jinja and the chat_template of tok", False),
    "a renumbered added token": (
        lambda f: change_tokenizer(f, moved_token), "renumbered tokens", "'<|moved|>' 2348 instead of 2355", False,
    ),
    "ids of another release": (
        lambda f: change(f, "tokenizer_config.json", added_tokens_decoder={"9": {"content": "<|im_end|>"}}),
        "renumbered tokens", "'<|im_end|>' 2 instead of 9", False,
    ),
    "words as added tokens": (
        lambda f: change_tokenizer(f, added_words), "added tokens as vocabulary", "120 added tokens are words", False,
    ),
    "a shard that is missing": (
        lambda f: index(f, lambda w: (f / "model-00001-of-00002.safetensors").unlink()),
        "shards", "1 shards that it names are not there, 3 tensors", False,
    ),
    "a tensor that is missing": (
        lambda f: index(f, lambda w: w.update({"model.extra.weight": "model-00001-of-00002.safetensors"})),
        "shards", "1 tensors that it names are in no shard", False,
    ),
    "an index of another sharding": (
        lambda f: index(f, lambda w: w.update({INPUT: "model-00002-of-00002.safetensors"})),
        "shards", "1 tensors are in another shard than it says", True,
    ),
    "no index": (lambda f: as_two_shards(f) and None, "shards", "there is none, for 2 shards", True),
    "half a download": (cut_shard, "unreadable files", "is cut off", False),
    "a config that is no JSON": (
        lambda f: (f / "config.json").write_text("{") and None,
        "unreadable files", "config.json is not valid JSON", False,
    ),
}  # fmt: skip


def only(folder: Path, base: Path | None = None) -> Finding:
    (found,) = diagnose(folder, against=base).findings
    return found


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_named_alone_with_its_evidence_and_mended_where_that_is_safe(
    name: str, model: Path, base: Path, tmp_path: Path
) -> None:
    spoil, kind, evidence, fixable = FAILURES[name]
    spoil(model)
    found = only(model, base)
    assert found.name == kind
    assert evidence in found.problem
    assert found.follows
    assert found.mend
    assert bool(found.edits) == fixable
    assert bool(found.unsafe) != fixable
    if not fixable:
        return
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    mend(model, tmp_path / "mended", [found])
    assert diagnose(tmp_path / "mended", against=base).healthy
    # The patient is as it was, and the copy has the files it says.
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    manifest = read_manifest(tmp_path / "mended")
    assert manifest is not None
    assert manifest["mended"] == [kind]
    assert changed_files(tmp_path / "mended", manifest) == []


def test_every_check_is_one_that_some_folder_fails() -> None:
    beside = {"pre-tokenizer name", "GGUF vocabulary", "other family", "unreachable tokens", "missing merges",
              "score ties", "special token drift"}  # fmt: skip
    assert len(CHECKS) == len(beside | {kind for _, kind, _, _ in FAILURES.values()})


@pytest.mark.parametrize("name", ["extended", "base"])
def test_what_vocabkit_writes_is_healthy(name: str, request: pytest.FixtureRequest, base: Path) -> None:
    folder = request.getfixturevalue(name)
    assert diagnose(folder).findings == ()
    assert diagnose(folder, against=base).findings == ()


def test_real_bases_are_healthy(smollm2_folder: Path) -> None:
    assert diagnose(smollm2_folder).findings == ()
    assert diagnose("starter").findings == ()


def test_a_head_that_is_not_there_is_tied_unless_the_base_has_one(model: Path, base: Path, tmp_path: Path) -> None:
    change_weights(model, lambda weights: weights.pop(HEAD))
    lost = only(model, base)
    assert lost.unsafe == "the base has a head apart, so this model's was lost"
    found = only(model)
    assert found.problem == "config.json says tie_word_embeddings false, and no shard holds a head"
    mend(model, tmp_path / "mended", [found])
    assert json.loads((tmp_path / "mended" / "config.json").read_text())["tie_word_embeddings"] is True
    assert diagnose(tmp_path / "mended").healthy


def test_tokens_without_merges_are_found_twice_over(model: Path, base: Path) -> None:
    change_tokenizer(model, without_merges)
    unreachable, merges = diagnose(model, against=base).findings
    assert (unreachable.name, merges.name) == ("unreachable tokens", "missing merges")
    assert merges.problem == "no merge of tokenizer.json makes 40 of its tokens"
    dead, asked = unreachable.problem.split(" new tokens")[0].split(" of ")
    # Tokens made of the forty are dead too.
    assert int(dead) >= 40
    assert asked == "300"
    assert not merges.edits
    # Without the base all tokens are asked, and nothing else is found.
    assert [finding.name for finding in diagnose(model).findings] == ["unreachable tokens", "missing merges"]


def test_what_is_not_the_bases_is_found_against_it_alone(model: Path, base: Path) -> None:
    change(model, "tokenizer_config.json", chat_template="{{ 'Hi' }}", eos_token="<|endoftext|>")
    change(model, "config.json", eos_token_id=0)
    change(model, "generation_config.json", eos_token_id=0)
    assert diagnose(model).healthy
    drift, chat = diagnose(model, against=base).findings
    assert drift.problem == "eos_token was '<|im_end|>' (2) and is '<|endoftext|>' (0)"
    assert chat.problem == "the chat template is not the base's"
    assert diagnose(model, against="starter").findings[-1].name == "other family"


def tied(tokenizer: Any, folder: Path, score: float) -> Path:
    """Paste Chinese words as the well-known recipe does: all with one score."""
    for word in ("人工", "工智", "智能", "能人", "工智能"):
        piece = tokenizer.proto.pieces.add()
        piece.piece, piece.score, piece.type = word, score, 1
    (folder / "tokenizer.model").write_bytes(tokenizer.proto.SerializeToString())
    return folder / "tokenizer.model"


def test_score_ties_are_counted_and_shown_on_lines_that_differ(tmp_path: Path) -> None:
    path = tied(open_tokenizer("starter"), tmp_path, 0.0)
    by_name = {finding.name: finding for finding in diagnose(path, against="starter").findings}
    assert by_name["score ties"].problem.startswith("5 pieces share their score with another")
    assert "segment 0 of" not in by_name["score ties"].problem
    assert not by_name["score ties"].edits


def test_a_class_whose_file_is_missing_is_found(mistral: Tokenizer, tmp_path: Path) -> None:
    mistral.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    change(tmp_path, "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    assert diagnose(tmp_path).healthy
    change(tmp_path, "tokenizer_config.json", tokenizer_class="T5Tokenizer")
    found = only(tmp_path)
    assert found.problem.endswith("the class reads spiece.model, not there, and there is no tokenizer.json either")
    assert found.unsafe == "there is no tokenizer.json"
    change(tmp_path, "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    assert "the class adds <|endoftext|>" in only(tmp_path).problem


def test_engines_that_load_it_otherwise_are_found(extended: Path) -> None:
    def elsewhere(folder: Path, lines: Any) -> dict[str, list[list[int]]]:
        ids = open_tokenizer(folder).encode(lines)
        return {"tokenizers": ids, "AutoTokenizer": [ids[0][:-1], *ids[1:]]}

    def refuses(folder: Path, lines: Any) -> dict[str, list[list[int]]]:
        raise VocabkitError("a new process cannot load it")

    texts = ["one line", "another"]
    (found,) = diagnose(extended, texts=texts, elsewhere=elsewhere).findings
    assert found.problem.endswith("AutoTokenizer gives other ids than tokenizer.json on 1 of 2 lines")
    assert found.items == ("'one line'",)
    # vocabkit wrote the right class already.
    assert found.unsafe == "the class is not at fault"
    (found,) = diagnose(extended, texts=texts, elsewhere=refuses).findings
    assert found.problem.endswith("it does not load (a new process cannot load it)")


def write_gguf(path: Path, pre: str, tokens: int, rows: int) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([f"t{i}" for i in range(tokens)])
    writer.add_tensor("token_embd.weight", np.zeros((rows, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_files_are_compared_with_the_tokenizer_beside_them(base: Path, tmp_path: Path) -> None:
    shutil.copy(base / "tokenizer.json", tmp_path)
    path = write_gguf(tmp_path / "a.gguf", "llama-bpe", 30, 40)
    pre, vocabulary = diagnose(path).findings
    assert pre.problem == "a.gguf says tokenizer.ggml.pre 'llama-bpe', and tokenizer.json cuts as 'smollm'"
    assert vocabulary.problem == ("a.gguf has 30 tokens and 40 rows; a.gguf has 30 tokens, and the tokenizer 2,048")
    # The same cuts under another name are right, and what vocabkit does not know is said.
    (tmp_path / "tokenizer.json").rename(tmp_path / "other.json")
    write_gguf(path, "starcoder", 40, 40)
    assert diagnose(path, against=base).healthy
    write_gguf(path, "default", 40, 40)
    assert only(path, base).name == "pre-tokenizer name"
    write_gguf(path, "of-next-year", 40, 40)
    assert "does not know it" in diagnose(path, against=base).unchecked[0]


def test_the_published_chinese_llama2_vocabulary(llama_path: Path) -> None:
    path = data_file("chinese_llama2.model")
    unreachable, ties = diagnose(path, against=llama_path).findings
    assert unreachable.problem.startswith("657 of 23,296 new tokens (2.8%) can never be produced; 628 have no two")
    assert unreachable.problem.endswith("1 of the base's can be produced no longer")
    assert ties.problem.startswith("23,296 pieces share their score with another")
    assert diagnose(llama_path).healthy


def test_what_cannot_be_looked_at_is_said(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    found = diagnose(model)
    assert found.healthy
    assert found.unchecked == ("the weights: they are pickles, which run code when they are opened",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match="holds no tokenizer and no weights; name the folder of a model"):
        diagnose(tmp_path / "empty")


def test_nothing_is_mended_in_place(model: Path, tmp_path: Path) -> None:
    change(model, "config.json", vocab_size=OLD)
    found = diagnose(model).findings
    for target in (model, model / "mended"):
        with pytest.raises(VocabkitError, match="nothing is mended in place"):
            mend(model, target, found)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    with pytest.raises(VocabkitError, match="exists; choose another --output"):
        mend(model, tmp_path / "there", found)
    mend(model, tmp_path / "linked", found, link=True)
    assert (tmp_path / "linked" / "model.safetensors").samefile(model / "model.safetensors")
    assert not (tmp_path / "linked" / "config.json").samefile(model / "config.json")
