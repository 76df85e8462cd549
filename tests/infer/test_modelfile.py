"""`vocabkit export ollama` writes conversations as the model's chat template does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from vocabkit.cli.export import export
from vocabkit.errors import VocabkitError
from vocabkit.infer.modelfile import FORMATS, modelfile

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "你好？"},
    {"role": "assistant", "content": "你好。"},
    {"role": "user", "content": "再见"},
]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}{% else %}"
    "{{ raise_exception('no') }}{% endif %}{% endfor %}"
)


def model(folder: Path, template: str | None, **more: Any) -> Path:
    folder.mkdir()
    config: dict[str, Any] = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    config |= {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 32768}))
    (folder / "generation_config.json").write_text(json.dumps(more))
    return folder


def run_go(template: str, messages: list[dict[str, str]]) -> str:
    """Run the few actions of Go's templates that a Modelfile of ours has."""
    match = re.fullmatch(r"\{\{ range \.Messages \}\}(.*)\{\{ end \}\}\{\{ end \}\}(.*)", template, re.DOTALL)
    assert match, template
    branches = dict(
        re.findall(r'\{\{ (?:else )?if eq \.Role "(\w+)" \}\}(.*?)(?=\{\{ else if|\Z)', match[1], re.DOTALL)
    )
    return "".join(branches[m["role"]].replace("{{ .Content }}", m["content"]) for m in messages) + match[2]


@pytest.mark.parametrize("form", FORMATS)
def test_a_template_in_go_writes_what_the_format_does(form: Any) -> None:
    talk = TALK if form.system else TALK[1:]
    assert run_go(form.template(), talk) == form.text(talk)


def test_chatml_is_found_and_parameters_are_kept(tmp_path: Path) -> None:
    source = model(tmp_path / "model", CHATML, temperature=0.6, repetition_penalty=1.1, max_new_tokens=9)
    text, lacks = modelfile(source, tmp_path / "Modelfile")
    lines = text.splitlines()
    assert [lines[0], lacks] == ["FROM ./model", []]
    assert "<|im_start|>user\n{{ .Content }}<|im_end|>" in text
    assert lines[-5:] == [
        "PARAMETER num_ctx 8192", 'PARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|im_start|>"',
        "PARAMETER temperature 0.6", "PARAMETER repeat_penalty 1.1",
    ]  # fmt: skip
    assert "SYSTEM" not in text


def test_a_template_without_system_messages_is_found_behind_bos(tmp_path: Path) -> None:
    text, lacks = modelfile(model(tmp_path / "model", MISTRAL), tmp_path / "out" / "Modelfile")
    assert text.startswith("FROM ../model\n")
    assert "[INST] {{ .Content }} [/INST]{{ else if eq .Role" in text
    assert "<s>" not in text
    assert lacks == []


def test_the_system_message_of_a_template_is_kept(smollm2_folder: Path, tmp_path: Path) -> None:
    source = model(
        tmp_path / "model", json.loads((smollm2_folder / "tokenizer_config.json").read_text())["chat_template"]
    )
    text, _ = modelfile(source, tmp_path / "Modelfile")
    assert 'SYSTEM """You are a helpful AI assistant named SmolLM, trained by Hugging Face"""\n' in text


def test_a_template_of_no_known_format_is_said(tmp_path: Path) -> None:
    source = model(tmp_path / "model", "{% for m in messages %}### {{ m['role'] }}: {{ m['content'] }}{% endfor %}")
    result = CliRunner().invoke(export, ["ollama", str(source), "-o", str(tmp_path / "Modelfile")])
    assert "note: the chat template is of no known format; write TEMPLATE by hand" in result.output
    assert "TEMPLATE" not in (tmp_path / "Modelfile").read_text()


def test_a_model_trained_with_a_published_prompt_asks_with_it(tmp_path: Path) -> None:
    source = model(tmp_path / "model", None)
    (source / "vocabkit.json").write_text(json.dumps({"files": {}, "template": "mixtral"}))
    text, _ = modelfile(source, tmp_path / "Modelfile")
    assert 'eq .Role "user" }}[INST] {{ .Content }} [/INST]' in text


def test_what_is_no_model_is_refused_and_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(VocabkitError, match=r"no model folder and no \.gguf file"):
        modelfile(tmp_path / "a.txt", tmp_path / "Modelfile")
    source = model(tmp_path / "model", CHATML)
    result = CliRunner().invoke(export, ["ollama", str(source), "-o", str(tmp_path / "a.txt")])
    assert "exists; choose another --output" in str(result.exception)
    assert (tmp_path / "a.txt").read_text() == "x"
