"""A Modelfile, which tells Ollama how to run a model: its file, its chat template and where a response ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.manifest import read_manifest
from vocabkit.model.chat import TEMPLATES
from vocabkit.rows.checkpoint import CONFIG, read_json
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.tokenizer.widen import is_widened

# Ollama reserves memory for the whole context; a longer one is the user's choice.
MAX_CONTEXT = 8192
# generation_config.json -> what Ollama calls it.
SETTINGS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}  # fmt: skip
MARK = "{}"


@dataclass(frozen=True)
class Format:
    """How a conversation is written, `{}` where a message stands.

    system, user, assistant: a message of each; system is "" where the format has none.
    opens: what stands before a response.  stops: what ends one.
    """

    system: str
    user: str
    assistant: str
    opens: str
    stops: tuple[str, ...]

    def text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return a conversation up to where the next response begins."""
        forms = {"system": self.system, "user": self.user, "assistant": self.assistant}
        return "".join(forms[one["role"]].replace(MARK, one["content"]) for one in messages) + self.opens

    def template(self) -> str:
        """Return the same as a template of Ollama's, which are Go's."""
        forms = {"system": self.system, "user": self.user, "assistant": self.assistant}
        branches = [
            f'if eq .Role "{role}" }}}}{form.replace(MARK, "{{ .Content }}")}' for role, form in forms.items() if form
        ]
        return f"{{{{ range .Messages }}}}{{{{ {'{{ else '.join(branches)}{{{{ end }}}}{{{{ end }}}}{self.opens}"


def _headed(before: str, after: str, end: str, stops: tuple[str, ...]) -> Format:
    """Return a format in which every message begins with its role and ends alike."""
    forms = {role: f"{before}{role}{after}{MARK}{end}" for role in ("system", "user", "assistant")}
    return Format(**forms, opens=f"{before}assistant{after}", stops=stops)


FORMATS = (
    _headed("<|im_start|>", "\n", "<|im_end|>\n", ("<|im_end|>", "<|im_start|>")),  # ChatML: Qwen, SmolLM2, Yi
    _headed("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", ("<|eot_id|>", "<|start_header_id|>")),
    _headed("<|", "|>\n", "</s>\n", ("</s>", "<|user|>")),  # Zephyr, TinyLlama
    Format("", f"[INST] {MARK} [/INST]", f"{MARK}</s>", "", ("[INST]", "</s>")),  # Mistral and Llama-2
    Format("", f"[INST] {MARK} [/INST]", f" {MARK}</s>", "", ("[INST]", "</s>")),
    Format("", f"[INST] {MARK}[/INST]", f" {MARK}</s>", "", ("[INST]", "</s>")),
)


@dataclass(frozen=True)
class Source:
    """What a Modelfile is made of.  template: Jinja's, or None.  settings: of generation_config.json."""

    path: Path
    template: str | None
    tokens: dict[str, str]
    context: int | None
    settings: dict[str, Any]
    trained_with: str | None = None


def modelfile(source: Path, target: Path) -> tuple[str, list[str]]:
    """Return a Modelfile for the model folder or GGUF file `source`, to be written as `target`, and what it lacks.

    Raises VocabkitError when `source` is neither.
    """
    if source.is_dir():
        found = _of_folder(source)
    elif source.is_file() and source.suffix == ".gguf":
        found = _of_gguf(source)
    else:
        raise VocabkitError(f"{source} is no model folder and no .gguf file; write one with `vocabkit export gguf`")
    relative = os.path.relpath(source.resolve(), target.resolve().parent)
    lines = [f"FROM {relative if relative.startswith('..') else f'./{relative}'}"]
    lacks: list[str] = []
    form, system = _format_of(found, lacks)
    if form:
        lines += ["", f'TEMPLATE """{form.template()}"""']
        if system:
            lines.append(f'SYSTEM """{system}"""')
    lines.append("")
    if found.context:
        lines.append(f"PARAMETER num_ctx {min(found.context, MAX_CONTEXT)}")
    lines += [f'PARAMETER stop "{stop}"' for stop in (form.stops if form else ())]
    lines += [f"PARAMETER {name} {found.settings[key]}" for key, name in SETTINGS.items() if found.settings.get(key)]
    return "\n".join(lines) + "\n", lacks


def _of_folder(folder: Path) -> Source:
    config = read_json(folder / CONFIG)
    sidecars = Sidecars.read(folder)
    path, tokenizer = folder / "generation_config.json", folder / "tokenizer.json"
    # Ollama makes a GGUF of a folder, and takes a pre-tokenizer that it does not know for another one.
    if tokenizer.is_file() and is_widened(read_json(tokenizer)):
        raise VocabkitError(
            f"the pre-tokenizer of {folder} was extended, and Ollama has only its own; extend with "
            f"--pretokenizer keep to run it there"
        )
    template = sidecars.chat_template
    tokens = {name: _content(sidecars.config.get(name)) for name in ("bos_token", "eos_token")}
    said = (read_manifest(folder) or {}).get("template")
    return Source(
        folder,
        template if isinstance(template, str) else None,
        tokens,
        config.get("max_position_embeddings"),
        read_json(path) if path.is_file() else {},
        said if isinstance(said, str) else None,
    )


def _content(token: Any) -> str:
    return str((token.get("content") if isinstance(token, dict) else token) or "")


def _of_gguf(path: Path) -> Source:
    from vocabkit.infer.gguf import need_gguf

    need_gguf()
    import gguf

    reader = gguf.GGUFReader(path)

    def value(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    def token(name: str) -> str:
        token_id, field = value(f"tokenizer.ggml.{name}_token_id"), reader.get_field("tokenizer.ggml.tokens")
        return "" if token_id is None or field is None else str(field.contents(token_id))

    context = value(f"{value('general.architecture')}.context_length")
    tokens = {"bos_token": token("bos"), "eos_token": token("eos")}
    return Source(path, value("tokenizer.chat_template"), tokens, context, {})


def _format_of(source: Source, lacks: list[str]) -> tuple[Format | None, str]:
    """Return the format of conversations and the system message that the template puts in by itself."""
    if source.template is None and source.trained_with in TEMPLATES:
        prompt = TEMPLATES[source.trained_with].replace("{instruction}", MARK)
        return Format("", prompt, f"{MARK}\n\n", "", ("### Instruction:", "[INST]")), ""
    if source.template is None:
        lacks.append("the model has no chat template, so none is written: it goes on with text")
        return None, ""
    if find_spec("jinja2") is None:
        lacks.append("the chat template was not read; run `pip install jinja2`, or write TEMPLATE by hand")
        return None, ""
    talk = [{"role": role, "content": text} for role, text in (("user", "A1"), ("assistant", "B2"), ("user", "C3"))]
    ordered = {"role": "system", "content": "S0"}
    for form in FORMATS:
        messages = [ordered, *talk] if form.system else talk
        expected, rendered = form.text(messages), _rendered(source, messages)
        # Ollama puts BOS before a text by itself.
        for bos in ("", source.tokens["bos_token"]):
            if rendered == bos + expected:
                alone = (_rendered(source, talk) or "").removeprefix(bos)
                return form, _system(form, alone, form.text(talk))
    lacks.append("the chat template is of no known format; write TEMPLATE by hand")
    return None, ""


def _system(form: Format, rendered: str, expected: str) -> str:
    """Return the system message that a template put before a conversation that has none."""
    before, after = form.system.split(MARK) if form.system else ("", "")
    added = rendered.removesuffix(expected)
    if not form.system or not added.startswith(before) or not added.endswith(after):
        return ""
    return added[len(before) : len(added) - len(after)]


def _rendered(source: Source, messages: Sequence[Mapping[str, str]]) -> str | None:
    """Return a conversation as the template writes it; None when it refuses."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    try:
        template = environment.from_string(source.template or "")
        return str(template.render(messages=messages, add_generation_prompt=True, **source.tokens))
    except (jinja2.TemplateError, TypeError, ValueError):
        return None
