"""A GGUF file holds the same model: read back by the package gguf, and run by llama.cpp where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import SHAPE

from vocabkit.cli.export import export, probe_texts
from vocabkit.errors import CheckpointError, TokenizerError, VocabkitError
from vocabkit.infer.gguf import architectures
from vocabkit.language import Language
from vocabkit.manifest import write_manifest
from vocabkit.rows.checkpoint import Checkpoint, open_checkpoint
from vocabkit.rows.surgery import NewRows, extend_checkpoint
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.pre_tokenizers import DIGITS, GPT2, PRE_TOKENIZERS, PreTokenizer, pre_tokenizer_of
from vocabkit.tokenizer.widen import GPT2_PATTERN, word_pattern
from vocabkit.vocabulary import probes
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.model_card import write_generation_config
from vocabkit.vocabulary.spans import SpanCutter

gguf = pytest.importorskip("gguf")
NEW = 300
PREFIXED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
HINDI = {"pattern": {"Regex": f"{word_pattern(((0x900, 0x97F),), ' ?')}|{GPT2_PATTERN}"}}
WIDENED = {
    "type": "Sequence",
    "pretokenizers": [SPLIT | HINDI, PREFIXED | {"add_prefix_space": False, "use_regex": False}],
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}


def write(folder: Path, path: Path, **options: Any) -> Any:
    from vocabkit.infer.gguf.writer import write_gguf

    return write_gguf(folder, path, **options)


def grown(base: Path, folder: Path, language: Language, lines: Sequence[str]) -> Path:
    """Extend a model as `vocabkit extend` does, but for its proofs, which take longer than all that is done here."""
    tokenizer, checkpoint = open_tokenizer(base), open_checkpoint(base)
    spans = Counter(SpanCutter(tokenizer.preparer(), language)("\n".join(lines), True, True))
    bigger = tokenizer.extended(learn(tokenizer, language, spans, size=NEW))
    rows = padded_rows(tokenizer, bigger.size)

    def make() -> dict[str, NewRows]:
        return {t.name: NewRows(t.values[1000 : 1000 + NEW], t.values[7]) for t in checkpoint.row_tensors}

    folder.mkdir()
    bigger.save(folder)
    extend_checkpoint(checkpoint, folder, make, first=tokenizer.size, rows=rows)
    write_generation_config(checkpoint, folder, size=bigger.size, rows=rows)
    write_manifest(folder, "extend", arguments={}, inputs=[], base={"size": tokenizer.size})
    return folder


@pytest.fixture(scope="session")
def sentencepiece_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mistral with the starter's 32,000 pieces."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("sentencepiece") / "base"
    torch.manual_seed(0)
    config = transformers.MistralConfig(**SHAPE, vocab_size=32000, initializer_range=0.2, sliding_window=None)
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    open_tokenizer("starter").save(folder)
    return folder


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with 500 pieces, which are written and read back at once."""
    import sentencepiece
    import transformers

    folder = tmp_path_factory.mktemp("mini")
    lines = [*probes.english_lines(), *probes.code_lines()[:300]]
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=file, model_type="bpe", vocab_size=500, byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
        )  # fmt: skip
    config = transformers.LlamaConfig(**SHAPE, vocab_size=512, initializer_range=0.2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = open_tokenizer(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def bases(sentencepiece_base: Path, small: Callable[..., Path]) -> dict[str, Path]:
    return {"sentencepiece": sentencepiece_base, "byte-level": small("llama", tied=True)}


@pytest.fixture(scope="session")
def models(
    bases: dict[str, Path], chinese: Language, chinese_lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The bases, each with new Chinese tokens."""
    folder = tmp_path_factory.mktemp("grown")
    return {name: grown(base, folder / name, chinese, chinese_lines[:600]) for name, base in bases.items()}


@pytest.fixture(scope="session")
def files(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both models in float32."""
    folder = tmp_path_factory.mktemp("gguf")
    return {name: write(model, folder / f"{name}.gguf", type_name="f32").path for name, model in models.items()}


def field(reader: Any, name: str) -> Any:
    found = reader.get_field(name)
    return None if found is None else found.contents()


@pytest.mark.parametrize("family", ["sentencepiece", "byte-level"])
def test_every_row_has_a_token_of_the_right_kind(
    family: str, files: dict[str, Path], models: dict[str, Path]
) -> None:
    reader = gguf.GGUFReader(files[family])
    tokenizer, rows = open_tokenizer(models[family]), open_checkpoint(models[family]).rows
    texts, kinds = (field(reader, f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    assert len(texts) == len(set(texts)) == len(kinds) == rows > tokenizer.size
    assert texts[: tokenizer.size] == [
        text for text, _ in sorted(tokenizer.id_table.items(), key=lambda item: item[1])
    ]
    assert set(kinds[tokenizer.size :]) == {gguf.TokenType.UNUSED}
    assert set(kinds[tokenizer.size - NEW : tokenizer.size]) == {gguf.TokenType.NORMAL}
    assert field(reader, "tokenizer.ggml.suppress_tokens") == list(range(tokenizer.size, rows))
    special = {i for i, kind in enumerate(kinds) if kind in (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN)}
    assert special == set(tokenizer.special_tokens.values())


def test_sentencepiece_says_what_is_merged_first_by_scores(files: dict[str, Path]) -> None:
    reader = gguf.GGUFReader(files["sentencepiece"])
    scores, kinds = (field(reader, f"tokenizer.ggml.{name}") for name in ("scores", "token_type"))
    new = scores[32000 : 32000 + NEW]
    assert len(set(new)) == NEW
    assert max(new) < min(score for score, kind in zip(scores[:32000], kinds, strict=False) if kind == 1)
    assert [kinds.count(gguf.TokenType.BYTE), field(reader, "tokenizer.ggml.add_space_prefix")] == [256, True]
    assert [field(reader, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "unknown")] == [1, 2, 0]
    assert [field(reader, f"tokenizer.ggml.add_{name}_token") for name in ("bos", "eos")] == [True, False]


def test_byte_level_names_its_pre_tokenizer_and_lists_merges(files: dict[str, Path], models: dict[str, Path]) -> None:
    reader = gguf.GGUFReader(files["byte-level"])
    merges = open_tokenizer(models["byte-level"]).json["model"]["merges"]
    assert [field(reader, f"tokenizer.ggml.{name}") for name in ("model", "pre")] == ["gpt2", "smollm"]
    assert field(reader, "tokenizer.ggml.merges") == [" ".join(pair) for pair in merges]
    assert field(reader, "tokenizer.chat_template").startswith("{% for message in messages %}")
    assert not field(reader, "tokenizer.ggml.add_bos_token")
    assert "output.weight" not in {tensor.name for tensor in reader.tensors}  # tied


def test_queries_and_keys_are_turned_for_llama(files: dict[str, Path], models: dict[str, Path]) -> None:
    reader = gguf.GGUFReader(files["sentencepiece"])
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    from safetensors.numpy import load_file

    weights = load_file(models["sentencepiece"] / "model.safetensors")
    layer = "model.layers.1.self_attn"
    for name, heads in (("q", 4), ("k", 2)):
        original = weights[f"{layer}.{name}_proj.weight"]
        turned = stored[f"blk.1.attn_{name}.weight"]
        for head in range(heads):
            for i in range(8):
                assert (turned[head * 16 + 2 * i] == original[head * 16 + i]).all()
                assert (turned[head * 16 + 2 * i + 1] == original[head * 16 + 8 + i]).all()
    assert (stored["blk.1.attn_v.weight"] == weights[f"{layer}.v_proj.weight"]).all()
    assert (stored["output.weight"] == weights["lm_head.weight"]).all()


@pytest.mark.parametrize(("type_name", "error"), [("f16", 3e-4), ("bf16", 3e-3), ("q8_0", 8e-3), ("q4_0", 0.12)])
def test_formats_are_as_near_as_they_can_be(type_name: str, error: float, mini: Path, tmp_path: Path) -> None:
    written = write(mini, tmp_path / "model.gguf", type_name=type_name)
    assert error / 3 < written.error < error
    formats = {t.name: t.tensor_type.name for t in gguf.GGUFReader(written.path).tensors}
    assert formats["blk.0.ffn_up.weight"] == type_name.upper()
    assert formats["token_embd.weight"] == {"q4_0": "Q8_0"}.get(type_name, type_name.upper())
    assert formats["output_norm.weight"] == "F32"


def test_a_wrong_tensor_does_not_read_back(mini: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from vocabkit.infer.gguf import tensors

    read = tensors._read
    monkeypatch.setattr(tensors.Planned, "blocks", lambda self: iter([read(*self.sources[0], np.arange(self.rows))]))
    with pytest.raises(CheckpointError, match=r"blk\.0\.attn_k\.weight differs from the original"):
        write(mini, tmp_path / "model.gguf", type_name="f32")
    assert not list(tmp_path.iterdir())


def test_a_kill_leaves_the_old_file_and_the_next_run_tidies_up(mini: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF, the old one")
    script = (
        "import os, signal, sys; from pathlib import Path; from vocabkit.infer.gguf import writer\n"
        "writer.check_file = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writer.write_gguf(Path(sys.argv[1]), Path(sys.argv[2]), force=True)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(mini), str(path)], check=False)
    assert run.returncode == -9
    assert path.read_bytes() == b"GGUF, the old one"
    assert len(list(tmp_path.iterdir())) == 2
    write(mini, path, force=True)
    assert [one.name for one in tmp_path.iterdir()] == ["model.gguf"]
    assert field(gguf.GGUFReader(path), "general.architecture") == "llama"


def test_what_is_there_is_not_replaced_by_chance(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("dear diary", encoding="utf-8")
    with pytest.raises(VocabkitError, match="exists; choose another --output, or replace it with --force"):
        write(mini, tmp_path / "notes")
    with pytest.raises(VocabkitError, match="is no GGUF file"):
        write(mini, tmp_path / "notes", force=True)
    with pytest.raises(VocabkitError, match="is a folder"):
        write(mini, tmp_path, force=True)


def changed(model: Path, folder: Path, name: str, change: Callable[[Any], None]) -> Path:
    """Copy a model with one of its JSON files changed."""
    shutil.copytree(model, folder)
    data = json.loads((folder / name).read_text(encoding="utf-8"))
    change(data)
    (folder / name).write_text(json.dumps(data), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("family", "name", "change", "message"),
    [
        ("byte-level", "tokenizer.json", {"pre_tokenizer": PREFIXED},
         r"no pre-tokenizer of llama\.cpp is known to cut as .*ByteLevel.*; name one with --pre NAME"),
        ("byte-level", "tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "changes text by Lowercase"),
        ("byte-level", "tokenizer.json", {"pre_tokenizer": WIDENED}, "the pre-tokenizer of .* was extended"),
        ("byte-level", "tokenizer_config.json", {"eos_token": None}, None),
        ("mini", "config.json", {"model_type": "gemma"}, "of type 'gemma', and GGUF is written of"),
        ("mini", "config.json", {"quantization_config": {"bits": 4}}, "is quantised already"),
        ("mini", "config.json", {"rope_parameters": {"rope_type": "dynamic"}}, "scaled by 'dynamic'"),
        ("mini", "config.json", {"num_attention_heads": 8}, "64 rows, not 8 heads of 16"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_run_is_refused(
    family: str,
    name: str,
    change: dict[str, Any],
    message: str | None,
    models: dict[str, Path],
    mini: Path,
    tmp_path: Path,
) -> None:
    folder = changed(
        mini if family == "mini" else models[family], tmp_path / "model", name, lambda data: data.update(change)
    )
    if message is None:
        # config.json and generation_config.json are asked next.
        for other in ("config.json", "generation_config.json"):
            data = json.loads((folder / other).read_text(encoding="utf-8"))
            (folder / other).write_text(json.dumps(data | {"eos_token_id": None}), encoding="utf-8")
        message = "nothing says which token ends a text"
    with pytest.raises((CheckpointError, TokenizerError), match=message):
        write(folder, tmp_path / "model.gguf")
    if change.get("pre_tokenizer") == WIDENED:
        with pytest.raises(TokenizerError, match=message):
            write(folder, tmp_path / "model.gguf", pre="gpt-2")
    assert not (tmp_path / "model.gguf").exists()


def test_equal_scores_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    folder = tmp_path / "model"
    shutil.copytree(models["sentencepiece"], folder)
    proto = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    proto.pieces[32001].score = proto.pieces[32000].score
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    with pytest.raises(TokenizerError, match="new pieces share scores"):
        write(folder, tmp_path / "model.gguf")


def test_values_too_large_for_f16_are_refused(mini: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(mini, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] = 1e5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"blk\.0\.ffn_up\.weight holds values that f16 cannot; choose --type"):
        write(folder, tmp_path / "model.gguf")


def test_a_missing_package_is_one_line(mini: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("vocabkit.infer.gguf.find_spec", lambda name: None)
    result = CliRunner().invoke(export, ["gguf", str(mini), "-o", str(tmp_path / "a.gguf")])
    assert str(result.exception).endswith("run `pip install 'vocabkit[gguf]'`")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2_folder", "smollm"),
        ("llama3_file", "llama-bpe"),
        ("qwen_file", "qwen2"),
        ("deepseek_folder", "deepseek-v3"),
    ],
)
def test_real_pre_tokenizers_are_known(name: str, expected: str, request: pytest.FixtureRequest) -> None:
    assert pre_tokenizer_of(open_tokenizer(request.getfixturevalue(name)).json).name == expected


def test_tekken_is_known_from_its_own_file() -> None:
    from conftest import package_folder

    config = json.loads((package_folder("mistral_common", "data") / "tekken_240911.json").read_text())["config"]
    assert next(one for one in PRE_TOKENIZERS if one.name == "tekken").steps == (config["pattern"],)


def test_older_configs_say_the_same() -> None:
    new = {**SHAPE, "rope_parameters": LLAMA3}
    old = {
        **SHAPE,
        "rope_theta": 500000.0,
        "rope_scaling": {"type": "llama3"} | {k: v for k, v in LLAMA3.items() if k[:4] != "rope"},
    }
    assert architectures.hyperparameters(new, 512) == architectures.hyperparameters(old, 512)
    factors = [architectures.rope_factors(config) for config in (new, old)]
    assert factors[0] is not None
    assert np.array_equal(*factors)


def test_rope_factors_are_those_of_transformers() -> None:
    import transformers
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    plain = {"rope_type": "default", "rope_theta": 500000.0}
    stretched, default = (
        LlamaRotaryEmbedding(transformers.LlamaConfig(**SHAPE, rope_parameters=rope)).inv_freq.numpy()
        for rope in (LLAMA3, plain)
    )
    factors = architectures.rope_factors({**SHAPE, "rope_parameters": LLAMA3})
    assert factors is not None
    assert [factors.min(), factors.max()] == [1, 8]
    np.testing.assert_allclose(default / stretched, factors, rtol=1e-5)


def test_a_window_that_llama_cpp_has_not_is_reported() -> None:
    config = {**SHAPE, "sliding_window": 128}
    assert "the model to its last 128 tokens" in architectures.differences(config)[0]
    assert architectures.differences({**config, "use_sliding_window": False}) == []
    assert architectures.differences({**config, "max_position_embeddings": 128}) == []


def test_the_command_says_whether_it_compared(mini: Path, tmp_path: Path) -> None:
    arguments = [str(mini), "-o", str(tmp_path / "a.gguf")]
    result = CliRunner().invoke(export, ["gguf", *arguments, "--no-compare"])
    assert result.exit_code == 0, result.output
    assert "Its tokens were not compared with llama.cpp (as asked)." in result.output
    result = CliRunner().invoke(export, ["gguf", *arguments, "--force", "--json", "--type", "q8_0"])
    document = json.loads(result.output)
    assert [document["tokens"], document["padding"]] == [512, 12]
    assert document["compared"] is None or document["compared"]["alike"] == 10_000


def texts_for(model: Path, lines: Sequence[str]) -> list[str]:
    """Return 10,000 texts, 2,000 of them real lines."""
    tokenizer = open_tokenizer(model)
    return [*probe_texts(tokenizer, tokenizer.size - NEW)[:8000], *lines[1000:3000]]


@pytest.mark.parametrize("family", ["sentencepiece", "byte-level"])
def test_llama_cpp_tokenises_as_tokenizers_does(
    family: str, files: dict[str, Path], models: dict[str, Path], chinese_lines: list[str]
) -> None:
    pytest.importorskip("llama_cpp")
    from vocabkit.infer.gguf.runtime import compare

    texts, tokenizer = texts_for(models[family], chinese_lines), open_tokenizer(models[family])
    found = compare(files[family], tokenizer, texts, first_new=tokenizer.size - NEW)
    assert [found.compared, found.with_new] == [10_000, 0]
    # SmolLM2 has no token for some bytes; tokenizers merges what stands around one, llama.cpp does not.
    missing = [byte for byte in range(0xC0) if tokenizer.find(bytes([byte])) is None]
    assert all(any(byte in text.encode() for byte in missing) for text, _, _ in found.examples)
    assert found.alike >= (10_000 if family == "sentencepiece" else 9_990)


@pytest.fixture(scope="session")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose 4,096 byte-level tokens cross every cut, so that where a text is cut decides its ids."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("crossing")
    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4096, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        special_tokens=["<s>", "</s>"],
    )  # fmt: skip
    whole.train_from_iterator([*pages(), *probes.english_lines(), *probes.mixed_lines(1000)], trainer)
    whole.save(str(folder / "tokenizer.json"))
    config = transformers.LlamaConfig(**SHAPE, vocab_size=4096)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def pages() -> list[str]:
    """Return code of several lines each, with numbers, capitals and contractions between."""
    code = probes.code_lines()[:1200]
    return [
        "\n".join(code[i : i + 4]) + f"\n\n  {i} {i * i} it's IT'S we'LL HelloWorld été\n"
        for i in range(0, len(code), 4)
    ]


def cutting(folder: Path, model: Path, steps: Sequence[str], ignore_merges: bool) -> Path:
    """Give a byte-level model another pre-tokenizer."""
    shutil.copytree(model, folder)
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    cuts = [
        {"type": "Digits", "individual_digits": True}
        if step == DIGITS
        else {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False}
        for step in steps
        if step != GPT2
    ]
    byte_level = {**PREFIXED, "add_prefix_space": False, "use_regex": GPT2 in steps}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*cuts, byte_level]}
    data["model"]["ignore_merges"] = ignore_merges
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


@pytest.mark.parametrize("entry", PRE_TOKENIZERS, ids=lambda entry: entry.name)
def test_pre_tokenizers_cut_as_llama_cpp_does(
    entry: PreTokenizer, crossing: Path, tmp_path: Path, chinese_lines: list[str]
) -> None:
    pytest.importorskip("llama_cpp")
    from vocabkit.infer.gguf.runtime import compare

    model = cutting(tmp_path / "model", crossing, entry.steps, entry.takes_whole)
    real = [*pages(), *probes.english_lines(), *chinese_lines[:400]]
    right = write(model, tmp_path / "right.gguf")
    assert right.pre == entry.name
    assert compare(right.path, open_tokenizer(model), real).alike == len(real) == 735
    # Where scripts mix, two cut otherwise, as `differs` says; and one new symbol is none to llama.cpp's tables.
    mixed = compare(right.path, open_tokenizer(model), probes.mixed_lines(1265)).alike
    assert mixed == 1265 if not entry.differs and entry.name != "deepseek-v3" else mixed >= 1050
    wrong = write(model, tmp_path / "wrong.gguf", pre="gpt-2" if entry.name == "smollm" else "smollm")
    assert compare(wrong.path, open_tokenizer(model), real).alike < 700


def test_a_file_that_llama_cpp_cannot_load_is_one_line(mini: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    from vocabkit.infer.gguf.runtime import compare

    (tmp_path / "model.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(
        CheckpointError, match=r"llama\.cpp cannot load .*; update llama-cpp-python, or write it anew"
    ):
        compare(tmp_path / "model.gguf", open_tokenizer(mini), ["a"])


KINDS: dict[str, dict[str, Any]] = {
    "llama": {"tied": True},
    "llama with biases": {"attention_bias": True, "mlp_bias": True},
    "llama 3.1": {"rope_parameters": LLAMA3},
    "mistral": {"head_dim": 32, "sliding_window": None},
    "mixtral": {"num_local_experts": 12, "num_experts_per_tok": 2},  # 12: two digits, which sort before one
    "qwen2": {"bos_token_id": 1, "eos_token_id": 2},
    "qwen3": {"head_dim": 32, "eos_token_id": 2, "rope_parameters": YARN},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_llama_cpp_computes_what_transformers_does(kind: str, small: Callable[..., Path], tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "model"
    shutil.copytree(small(kind.split()[0], **KINDS[kind]), folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    ids = torch.randint(20, 49152, (1, 160))
    written = write(folder, tmp_path / "model.gguf", type_name="f32")
    # 0 is GGML's float32: its cache is float16 otherwise.
    running = llama_cpp.Llama(
        str(written.path), n_ctx=256, n_threads=2, verbose=False, logits_all=True, type_k=0, type_v=0
    )
    greedy = model.generate(ids, max_new_tokens=32, min_new_tokens=32, do_sample=False)
    running.eval(greedy[0].tolist())
    theirs = np.array(running._scores)
    with torch.no_grad():
        ours = model(greedy).logits[0].numpy()
    running.close()
    assert np.abs(theirs - ours).max() < 1e-3 < ours.std()
    assert theirs[159:-1].argmax(-1).tolist() == greedy[0, 160:].tolist()
    assert isinstance(open_checkpoint(folder), Checkpoint)
