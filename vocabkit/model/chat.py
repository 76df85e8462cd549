"""How a conversation is written for a model: the template of its tokenizer, or one of published models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.tokenizer.base import Tokenizer

# Prompts of published models, to the letter; the response and EOS follow.  Source: their training scripts.
TEMPLATES = {
    # Chinese-Alpaca: build_dataset.py, one prompt whether there is an input or not, with a space at its end.
    "alpaca": (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response: "
    ),
    # Chinese-Alpaca-2.
    "alpaca-2": (
        "[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n{instruction} [/INST]"
    ),
    # Chinese-Mixtral-Instruct.
    "mixtral": "[INST] {instruction} [/INST]",
}
CHAT, AUTO = "chat", "auto"


@dataclass(frozen=True)
class Turn:
    """Who says what: role "system", "user" or "assistant"."""

    role: str
    content: str


def template_for(name: str, tokenizer: Tokenizer, *, otherwise: str | None = None) -> str:
    """Return the name of the template to use: for "auto" the tokenizer's own when it has one, else `otherwise`.

    Raises UnknownNameError for a name that is not there, VocabkitError when the tokenizer has no template of its own.
    """
    has_own = tokenizer.sidecars.chat_template is not None
    if name == AUTO and (has_own or otherwise):
        return CHAT if has_own else str(otherwise)
    if name in (CHAT, AUTO) and not has_own:
        raise VocabkitError(
            f"{tokenizer.source} has no chat template; choose --template {' or '.join(TEMPLATES)}, or add one"
        )
    if name not in (*TEMPLATES, CHAT):
        raise UnknownNameError("template", name, (*TEMPLATES, CHAT, AUTO))
    return name


def pieces(turns: Sequence[Turn], template: str) -> list[tuple[str, str]]:
    """Return a conversation in a published model's template: ("prompt" or "response", text), in order.

    What the system says stands before the next instruction.
    """
    found, system = [], ""
    for turn in turns:
        if turn.role == "system":
            system = f"{turn.content}\n\n"
        elif turn.role == "user":
            found.append(("prompt", TEMPLATES[template].replace("{instruction}", system + turn.content)))
            system = ""
        else:
            found.append(("response", turn.content))
    return found


def gap(before: str) -> str:
    """Return what stands between a prompt and its answer: a space; nothing after a break or a wide mark (`：`)."""
    last = before[-1:]
    return "" if not last or last.isspace() or east_asian_width(last) in "WF" else " "


class Renderer:
    """The tokenizer of a folder as transformers loads it: its chat template and its special tokens in text.

    errors: what a template may raise for a conversation that it does not know how to write.  end: EOS, if it has one.
    """

    def __init__(self, folder: Path) -> None:
        import jinja2
        import transformers

        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        end = self._tokenizer.eos_token_id
        self.end: list[int] = [] if end is None else [end]
        self.errors = (jinja2.TemplateError, TypeError, ValueError)

    def text(self, messages: Sequence[dict[str, Any]], opens_response: bool) -> str:
        """Return a conversation as text.  opens_response: end with what stands before a response."""
        rendered: str = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=opens_response
        )
        return rendered

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a rendered text and the characters that each stands for; nothing is added."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]

    def prompt_ids(self, text: str) -> list[int]:
        """Return the ids of a plain prompt, with BOS where the tokenizer sets it."""
        found: list[int] = self._tokenizer(text)["input_ids"]
        return found
