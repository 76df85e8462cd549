"""What a model is asked: plain prompts, and conversations in its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError
from vocabkit.model.chat import AUTO, CHAT, Renderer, Turn, pieces, template_for
from vocabkit.model.trained import instruction_template
from vocabkit.tokenizer.base import Tokenizer

ROLES = ("system", "user", "assistant")


class Prompts:
    """Turns text and conversations into ids, as the tokenizer of a model's folder does.

    folder: a model, or a run.  tokenizer: its tokenizer, or that of the model it started from.
    template: a name of `vocabkit.model.chat`, or "auto": what the model learned from instructions, else the
    tokenizer's own.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, template: str = AUTO) -> None:
        self._renderer = Renderer(tokenizer.source)
        self._tokenizer = tokenizer
        learned = instruction_template(folder)
        self._template = learned if learned and template == AUTO else template
        # Training takes Alpaca's where nothing is said and the tokenizer has none.
        self._otherwise = "alpaca" if learned else None
        if template != AUTO:
            template_for(template, tokenizer)

    @property
    def template(self) -> str:
        """The name of the template; raises VocabkitError when none is known."""
        return template_for(self._template, self._tokenizer, otherwise=self._otherwise)

    def plain(self, text: str) -> list[int]:
        """Return the ids of a prompt, with BOS where the tokenizer sets it."""
        return self._renderer.prompt_ids(text)

    def opened(self, text: str, as_chat: bool) -> str:
        """Return a prompt as text up to where an answer begins.  as_chat: as the user's message in the template."""
        if not as_chat:
            return text
        if self.template == CHAT:
            return self._rendered([Turn("user", text)])
        return "".join(piece for _, piece in pieces([Turn("user", text)], self.template))

    def spelled(self, text: str, as_chat: bool) -> list[int]:
        """Return the ids of what `opened` returned, with or without the beginning of an answer."""
        if as_chat and self.template == CHAT:
            ids, _ = self._renderer.encode(text)
            return ids
        return self._renderer.prompt_ids(text)

    def conversation(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the ids of a conversation up to where the next response begins.

        messages: {"role": "system", "user" or "assistant", "content": text}.
        Raises VocabkitError for messages that are none, or that the template refuses.
        """
        turns = [_turn(one) for one in messages]
        if not turns:
            raise VocabkitError("the conversation is empty; send at least one message")
        if self.template == CHAT:
            ids, _ = self._renderer.encode(self._rendered(turns))
            return ids
        # As the published scripts do: each prompt begins anew, each response is encoded apart.
        found: list[int] = []
        for kind, text in pieces(turns, self.template):
            if kind == "prompt":
                found += self._renderer.prompt_ids(text)
            else:
                (ids,) = self._tokenizer.encode([text])
                found += [*ids, *self._renderer.end]
        return found

    def _rendered(self, turns: Sequence[Turn]) -> str:
        try:
            return self._renderer.text([{"role": one.role, "content": one.content} for one in turns], True)
        except self._renderer.errors as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise VocabkitError(f"the chat template refuses this conversation ({reason})") from error


def _turn(message: Mapping[str, Any]) -> Turn:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list) and all(isinstance(one, dict) and one.get("type") == "text" for one in content):
        content = "".join(str(one.get("text", "")) for one in content)
    if role not in ROLES:
        raise VocabkitError(f"a message has the role {role!r}; it must be one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise VocabkitError(f"a message of the {role} has no text; only text can be read")
    return Turn(role, content)
