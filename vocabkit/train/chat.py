"""Instructions and conversations as ids of which only the responses are learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocabkit.corpus import Corpus
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
# ShareGPT's names of who speaks.
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}

Example = tuple[list[int], list[bool]]


@dataclass(frozen=True)
class Turn:
    """Who says what: role "system", "user" or "assistant"."""

    role: str
    content: str


def template_for(name: str, tokenizer: Tokenizer) -> str:
    """Return the name of the template to use: for "auto" the tokenizer's own when it has one, else Alpaca's.

    Raises UnknownNameError for a name that is not there, VocabkitError when the tokenizer has no template of its own.
    """
    has_own = tokenizer.sidecars.chat_template is not None
    if name == AUTO:
        return CHAT if has_own else "alpaca"
    if name == CHAT and not has_own:
        raise VocabkitError(
            f"{tokenizer.source} has no chat template; choose --template {' or '.join(TEMPLATES)}, or add one"
        )
    if name not in (*TEMPLATES, CHAT):
        raise UnknownNameError("template", name, (*TEMPLATES, CHAT, AUTO))
    return name


def examples(
    corpus: Corpus, tokenizer: Tokenizer, template: str, bos: int | None, eos: int | None
) -> Iterator[Example]:
    """Yield ids and which of them are learned, for every record that has a response.

    template: as `template_for` gives it.  Records: {"instruction", "input", "output"}, {"messages": [{"role",
    "content"}]} or {"conversations": [{"from", "value"}]}.  Others are counted in the corpus's problems.
    """
    write = _own_template(tokenizer) if template == CHAT else _fixed(tokenizer, TEMPLATES[template], bos, eos)
    for name, place, record in corpus.records():
        turns = turns_of(record)
        if isinstance(turns, str):
            corpus.problems.bad(name, "record", turns, place)
            continue
        made = write(turns)
        if isinstance(made, str):
            corpus.problems.bad(name, "record", made, place)
        else:
            yield made


def turns_of(record: dict[str, Any]) -> list[Turn] | str:
    """Return who says what in a record, or what is wrong with it."""
    if record.get("instruction") is not None:
        instruction, more, output = (record.get(key) or "" for key in ("instruction", "input", "output"))
        if not all(isinstance(part, str) for part in (instruction, more, output)):
            return "an instruction, input or output that is no text"
        if not output:
            return "no output"
        return [Turn("user", f"{instruction}\n{more}" if more else instruction), Turn("assistant", output)]
    said = record.get("messages") or record.get("conversations")
    if not isinstance(said, list) or not said:
        return "no instruction, messages or conversations"
    turns = []
    for one in said:
        role = one.get("role", one.get("from")) if isinstance(one, dict) else None
        content = one.get("content", one.get("value")) if isinstance(one, dict) else None
        if role not in ROLES or not isinstance(content, str):
            return "a message without a known role and text"
        turns.append(Turn(ROLES[role], content))
    if not any(turn.role == "assistant" for turn in turns):
        return "no response"
    return turns


def _fixed(
    tokenizer: Tokenizer, template: str, bos: int | None, eos: int | None
) -> Callable[[Sequence[Turn]], Example | str]:
    """Return what writes a prompt and a response, encoded apart as the published scripts do."""

    def write(turns: Sequence[Turn]) -> Example | str:
        ids: list[int] = []
        learned: list[bool] = []
        system = ""
        for turn in turns:
            if turn.role == "system":
                system = f"{turn.content}\n\n"
                continue
            if turn.role == "user":
                prompt = template.replace("{instruction}", system + turn.content)
                system = ""
                (part,) = tokenizer.encode([prompt])
                part = [*([bos] if bos is not None else []), *part]
                marks = [False] * len(part)
            else:
                (part,) = tokenizer.encode([turn.content])
                part = [*part, *([eos] if eos is not None else [])]
                marks = [True] * len(part)
            ids += part
            learned += marks
        return ids, learned

    return write


def _own_template(tokenizer: Tokenizer) -> Callable[[Sequence[Turn]], Example | str]:
    """Return what writes a conversation by the template of the tokenizer's folder."""
    render = _renderer(tokenizer.source)

    def write(turns: Sequence[Turn]) -> Example | str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            whole = render.text(messages, False)
            spans = []
            for i, turn in enumerate(turns):
                if turn.role == "assistant":
                    before, after = render.text(messages[:i], True), render.text(messages[: i + 1], False)
                    if not (after.startswith(before) and whole.startswith(after)):
                        return "a conversation that the chat template does not write turn by turn"
                    spans.append((len(before), len(after)))
        except render.errors as error:
            return f"a conversation that the chat template refuses ({(str(error).splitlines() or [''])[0]})"
        ids, offsets = render.encode(whole)
        learned = [any(begin <= start < end for begin, end in spans) for start, _ in offsets]
        return ids, learned

    return write


class _renderer:
    """The tokenizer of a folder as transformers loads it: its chat template and its special tokens in text."""

    def __init__(self, folder: Path) -> None:
        import jinja2
        import transformers

        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.errors = (jinja2.TemplateError, TypeError, ValueError)

    def text(self, messages: Sequence[dict[str, str]], opens_response: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=opens_response
        )
        return rendered

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]
