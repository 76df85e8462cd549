"""`vocabkit chat`: talk to a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli.sampling import opening, opening_of, sampling, sampling_of
from vocabkit.errors import VocabkitError

if TYPE_CHECKING:
    from vocabkit.infer.conversation import Conversation

HELP = """\
/help                 this list
/system [TEXT]        what the model is told first; without a text, show it
/set NAME VALUE       temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens or seed
/retry                answer the last message again
/undo                 take back the last message and its answer
/reset                begin anew
/save FILE            write the conversation as a line of JSON
/quit                 end; so does Ctrl-D.  Ctrl-C ends an answer"""
NUMBERS: dict[str, Callable[[str], Any]] = {
    "temperature": float, "top_k": int, "top_p": float, "min_p": float, "repetition_penalty": float,
    "max_new_tokens": int, "seed": int,
}  # fmt: skip


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--system", metavar="TEXT", help="What the model is told first.")
@click.option("--template", default="auto", show_default=True, help="auto, chat, alpaca, alpaca-2 or mixtral.")
@sampling(temperature=0.7, max_new_tokens=512)
@opening
def chat(model: Path, system: str | None, template: str, **given: Any) -> None:
    """Talk to a model.  Lines that begin with / are commands; /help lists them.

    Reads lines from stdin when that is no terminal.

    \b
    Examples:
      vocabkit chat llm-zh --quantize int8
      printf '你好\\n' | vocabkit chat llm-zh --temperature 0
    """
    from vocabkit.model.load import need_models

    need_models("chatting")
    from vocabkit.infer.conversation import Conversation
    from vocabkit.infer.load import open_engine
    from vocabkit.infer.prompts import Prompts

    console.note(f"Loading {model}")
    engine = open_engine(model, opening_of(given))
    prompts = Prompts(model, engine.tokenizer, template)
    console.note(f"template: {prompts.template}; context: {engine.max_length:,} tokens; /help lists commands")
    talk = Conversation(engine, prompts, sampling_of(given), system)
    read = _reader()
    while (line := read()) is not None:
        if not line.strip():
            continue
        try:
            if line.startswith("/"):
                line = _command(talk, line[1:])
                if line is None:
                    return
            if line:
                _answer(talk, line)
        except VocabkitError as error:
            console.note(f"error: {error}")


def _reader() -> Callable[[], str | None]:
    """Return what gives the next line, None at the end."""
    if not sys.stdin.isatty():
        lines = iter(sys.stdin)
        return lambda: next((line.rstrip("\n") for line in lines), None)
    try:
        from prompt_toolkit import PromptSession

        ask: Callable[[], str] = PromptSession("> ").prompt
    except ImportError:
        # Python's own line editor, which knows less of wide characters.
        import readline  # noqa: F401

        ask = lambda: input("> ")  # noqa: E731

    def read() -> str | None:
        while True:
            try:
                return ask()
            except EOFError:
                return None
            except KeyboardInterrupt:
                console.note("(/quit or Ctrl-D ends)")

    return read


def _answer(talk: Conversation, text: str) -> None:
    reply = talk.reply(text)
    is_first = True
    try:
        for piece in reply:
            # SentencePiece models begin an answer with a space.
            console.piece(piece.lstrip() if is_first else piece)
            is_first = is_first and not piece.strip()
    except KeyboardInterrupt:
        reply.close()
    console.result("")
    if talk.forgotten:
        console.note(f"note: the context is full; the first {talk.forgotten} messages were left out")


def _command(talk: Conversation, line: str) -> str | None:
    """Do what a command says; return a message to answer, "" for none, and None to end."""
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if name in ("quit", "exit"):
        return None
    if name == "retry":
        return talk.undo() or _said("nothing was said yet")
    if name == "undo":
        return _said("taken back" if talk.undo() else "nothing was said yet")
    if name == "reset":
        talk.reset()
        return _said("begun anew")
    if name == "system":
        if rest:
            talk.system = rest
        return _said(talk.system or "nothing is told first")
    if name == "set":
        return _said(_set(talk, rest))
    if name == "save" and rest:
        talk.save(Path(rest))
        return _said(f"written to {rest}")
    return _said(HELP if name == "help" else f"there is no command /{line}; /help lists them")


def _said(text: str) -> str:
    console.note(text)
    return ""


def _set(talk: Conversation, rest: str) -> str:
    name, _, value = rest.replace("=", " ").partition(" ")
    if name not in NUMBERS:
        return f"/set knows {', '.join(NUMBERS)}"
    try:
        talk.change(**{name: NUMBERS[name](value.strip())})
    except ValueError:
        return f"{value.strip()!r} is no number"
    return f"{name} is {getattr(talk.sampling, name)}"
