"""Instructions and conversations as ids of which only the responses are learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vocabkit.corpus import Corpus
from vocabkit.model.chat import CHAT, Renderer, Turn, pieces
from vocabkit.tokenizer.base import Tokenizer

# ShareGPT's names of who speaks.
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}

Example = tuple[list[int], list[bool]]


def examples(
    corpus: Corpus, tokenizer: Tokenizer, template: str, bos: int | None, eos: int | None
) -> Iterator[Example]:
    """Yield ids and which of them are learned, for every record that has a response.

    template: as `template_for` gives it.  Records: {"instruction", "input", "output"}, {"messages": [{"role",
    "content"}]} or {"conversations": [{"from", "value"}]}.  Others are counted in the corpus's problems.
    """
    write = _own_template(tokenizer) if template == CHAT else _fixed(tokenizer, template, bos, eos)
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
        for kind, text in pieces(turns, template):
            (part,) = tokenizer.encode([text])
            if kind == "prompt":
                part = [*([bos] if bos is not None else []), *part]
            else:
                part = [*part, *([eos] if eos is not None else [])]
            ids += part
            learned += [kind == "response"] * len(part)
        return ids, learned

    return write


def _own_template(tokenizer: Tokenizer) -> Callable[[Sequence[Turn]], Example | str]:
    """Return what writes a conversation by the template of the tokenizer's folder."""
    render = Renderer(tokenizer.source)

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
