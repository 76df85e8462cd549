"""`vocabkit generate`: prompts in, texts out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.sampling import opening, opening_of, sampling, sampling_of
from vocabkit.errors import VocabkitError

if TYPE_CHECKING:
    from vocabkit.infer.engine import Engine
    from vocabkit.infer.sampling import Sampling


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="May be repeated; `-` reads stdin.")
@click.option(
    "--prompts", "prompts_file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="A prompt on each line; of JSON Lines the field `prompt`, or `messages` for a conversation.",
)  # fmt: skip
@click.option("--chat", "as_chat", is_flag=True, help="Put each prompt into the model's chat template.")
@click.option("--template", default="auto", show_default=True, help="auto, chat, alpaca, alpaca-2 or mixtral.")
@sampling(temperature=0.0, max_new_tokens=128)
@click.option("--negative-prompt", metavar="TEXT", help="What --guidance leads away from.")
@click.option("--guidance", type=float, default=1.0, help="Scale of classifier-free guidance.")
@click.option("--draft", type=click.Path(path_type=Path), metavar="MODEL", help="Small model that proposes tokens.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Texts written at once.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON Lines file to write.",
)
@opening
@options.force
@options.as_json
def generate(
    model: Path,
    prompts: tuple[str, ...],
    prompts_file: Path | None,
    as_chat: bool,
    template: str,
    negative_prompt: str | None,
    guidance: float,
    draft: Path | None,
    batch_size: int,
    output: Path | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Let a model go on from prompts.  MODEL: a model, also in 4 or 8 bits, or a run of `vocabkit train`.

    \b
    Examples:
      vocabkit generate llm-zh --prompt 人工智能是
      vocabkit generate run2 --prompts questions.jsonl --chat -o answers.jsonl
      vocabkit generate llm-zh --quantize int8 --prompt - < page.txt
    """
    from vocabkit.model.load import need_models

    need_models("generating")
    from vocabkit.files import check_file_target
    from vocabkit.infer.load import open_engine
    from vocabkit.infer.prompts import Prompts

    asked = _asked(prompts, prompts_file)
    if output is not None:
        check_file_target(output, force)
    how = opening_of(given)
    chosen = sampling_of(given, guidance=guidance)
    with console.progress(as_json) as progress:
        progress.step(f"Loading {model}")
        engine = open_engine(model, how)
        spoken = Prompts(model, engine.tokenizer, template)
        ids = [_ids(one, spoken, as_chat) for one in asked]
        negative = None if negative_prompt is None else spoken.plain(negative_prompt)
        helper = None if draft is None else open_engine(draft, replace(how, base=None))
        progress.step("Writing")
        # A single text is shown while it grows.
        shown = len(ids) == 1 and not as_json and output is None
        began = time.perf_counter()
        found = _write(engine, helper, ids, chosen, negative, batch_size, shown)
        seconds = time.perf_counter() - began
    records = [{**one, **text} for one, text in zip(asked, found, strict=True)]
    if output is not None:
        from vocabkit.files import write_whole

        write_whole(output, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    if as_json:
        console.result_json(records[0] if len(records) == 1 else {"results": records})
        return
    if output is not None:
        console.result(f"{len(records):,} texts are in {output}.")
    elif len(records) > 1:
        for record in records:
            console.result(json.dumps(record, ensure_ascii=False))
    tokens = sum(record["new_tokens"] for record in records)
    console.note(f"{tokens:,} tokens in {seconds:.1f} s, {tokens / max(seconds, 1e-9):.1f} tokens/s")


def _asked(prompts: Sequence[str], file: Path | None) -> list[dict[str, Any]]:
    """Return what is asked: {"prompt": text} or {"messages": [...]}."""
    found: list[dict[str, Any]] = [{"prompt": sys.stdin.read() if one == "-" else one} for one in prompts]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise VocabkitError(f"{file} is not UTF-8 (byte {error.start}); convert it first") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                found.append(_record(line, file, number) if file.suffix == ".jsonl" else {"prompt": line})
    if not found:
        raise click.UsageError("name a --prompt, or a file of --prompts with at least a line")
    return found


def _record(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise VocabkitError(f"{file} line {number} is not JSON ({error}); mend it") from error
    if isinstance(record, dict) and isinstance(record.get("prompt"), str):
        return {"prompt": record["prompt"]}
    if isinstance(record, dict) and isinstance(record.get("messages"), list):
        return {"messages": record["messages"]}
    raise VocabkitError(f'{file} line {number} has neither "prompt" nor "messages"; add one')


def _ids(asked: dict[str, Any], spoken: Any, as_chat: bool) -> list[int]:
    if "messages" in asked:
        found: list[int] = spoken.conversation(asked["messages"])
    elif as_chat:
        found = spoken.conversation([{"role": "user", "content": asked["prompt"]}])
    else:
        found = spoken.plain(asked["prompt"])
    return found


def _write(
    engine: Engine,
    draft: Engine | None,
    prompts: Sequence[list[int]],
    chosen: Sampling,
    negative: list[int] | None,
    batch_size: int,
    shown: bool,
) -> list[dict[str, Any]]:
    """Return for every prompt its text, why it ended, and its counts of tokens."""
    from vocabkit.infer.scheduler import Scheduler
    from vocabkit.infer.speculative import Speculator

    found: list[dict[str, Any]] = [{"text": "", "finish_reason": None} for _ in prompts]
    if draft is not None:
        speculator = Speculator(engine, draft)
        events = (
            (number, event)
            for number, ids in enumerate(prompts)
            for event in speculator.run(ids, chosen, number=number)
        )
    else:
        scheduler = Scheduler(engine, max_batch=batch_size * (2 if chosen.guidance != 1 else 1))
        writings = {
            scheduler.submit(ids, chosen, number=number, negative=negative): number
            for number, ids in enumerate(prompts)
        }
        events = ((writings[event.writing], event) for event in scheduler.run())
    for number, event in events:
        found[number]["text"] += event.text
        if shown:
            console.piece(event.text)
        if event.finish:
            found[number] |= {
                "finish_reason": event.finish,
                "prompt_tokens": len(event.writing.prompt),
                "new_tokens": event.writing.new_tokens,
            }
    if shown:
        console.result("")
    if draft is not None:
        console.note(
            f"{speculator.accepted:,} of {speculator.proposed:,} proposed tokens stood, in {speculator.passes:,} "
            f"passes of the model"
        )
    return found
