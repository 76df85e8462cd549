"""`vocabkit bench choice`: multiple-choice questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.sampling import opening, opening_of
from vocabkit.errors import VocabkitError

if TYPE_CHECKING:
    from vocabkit.console import Progress
    from vocabkit.measure.choice import Accuracy, Prediction
    from vocabkit.measure.choice_prompts import Style
    from vocabkit.measure.questions import Question
    from vocabkit.measure.subject import Subject

# A letter, and a sentence around it.
WRITTEN_TOKENS = 48
# One letter that takes so much of all answers was not chosen by reading.
FAVOURITE = 0.6


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option(
    "--data", multiple=True, type=click.Path(path_type=Path, exists=True), metavar="PATH",
    help="File of questions, or a folder of such files, one for each subject; may be repeated.",
)  # fmt: skip
@click.option("--shots", type=click.IntRange(0), default=0, show_default=True, help="Answered questions shown first.")
@click.option(
    "--shots-from", type=click.Path(path_type=Path, exists=True), metavar="PATH",
    help="Where they are: files named as those of --data, often called dev.",
)  # fmt: skip
@click.option(
    "--score", "scoring", multiple=True, type=click.Choice(["letters", "texts", "written"]),
    help="letters after the listed choices; texts of the choices, not listed; what is written.  [default: the first]",
)  # fmt: skip
@click.option("--headline", default="", metavar="TEXT", help="Said first; {subject} is the subject's name.")
@click.option(
    "--prompt", "prompt_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="How a question is asked, with {question}, {choices} and {subject}.",
)  # fmt: skip
@click.option("--chat", "as_chat", is_flag=True, help="Put each question into the model's chat template.")
@click.option("--template", default="auto", show_default=True, help="auto, chat, alpaca, alpaca-2 or mixtral.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1), default=WRITTEN_TOKENS, show_default=True, help="Of --score written."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N questions of each subject.")
@click.option("--tasks", multiple=True, metavar="NAME|FILE", help="Task of lm-evaluation-harness; may be repeated.")
@opening
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File for what was chosen, JSON Lines."
)
@click.option("--force", is_flag=True, help="Replace the file.")
@options.as_json
def choice(
    models: tuple[Path, ...],
    data: tuple[Path, ...],
    shots: int,
    shots_from: Path | None,
    scoring: tuple[str, ...],
    headline: str,
    prompt_file: Path | None,
    as_chat: bool,
    template: str,
    max_new_tokens: int,
    limit: int | None,
    tasks: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Multiple-choice questions as C-Eval, CMMLU and MMLU have them, scored alike for every vocabulary.

    Answers are compared by the log-probability of their strings, summed over whatever tokens spell them. Later models
    are compared with the first one question by question.

    \b
    Examples:
      vocabkit bench choice ./Llama-3.2-1B llm-zh --data ceval/val --shots-from ceval/dev --shots 5
      vocabkit bench choice llm-zh --data questions.jsonl --score texts --score written -o chosen.jsonl
      vocabkit bench choice ./Llama-3.2-1B llm-zh --tasks ./my_task.yaml
    """
    from vocabkit.model.load import need_models

    need_models("answering")
    if bool(data) == bool(tasks):
        raise click.UsageError("name files of questions with --data, or tasks of lm-evaluation-harness with --tasks")
    how = opening_of(given)
    if tasks:
        _only_tasks(scoring, shots_from, headline, prompt_file, output)
        _harness(models, tasks, shots, limit, as_chat, how, as_json)
        return
    from vocabkit.files import check_file_target
    from vocabkit.measure.choice import accuracy, compared

    questions, shown, style = _questions(data, limit, shots, shots_from, headline, prompt_file, scoring)
    if output is not None:
        check_file_target(output, force)
    found: dict[str, list[tuple[Path, list[Prediction]]]] = {}
    with console.progress(as_json) as progress:
        for model in models:
            for name, predictions in _predictions(
                model,
                how,
                as_chat,
                template,
                questions,
                shown,
                style,
                scoring or ("letters",),
                max_new_tokens,
                progress,
            ).items():
                found.setdefault(name, []).append((model, predictions))
    is_known = any(question.answer is not None for question in questions)
    if not is_known and output is None:
        raise VocabkitError("no question says its answer; write what was chosen with -o, or name other files")
    rows = []
    for name, each in found.items() if is_known else ():
        first = each[0][1]
        for model, predictions in each:
            row = accuracy(str(model), name, predictions)
            rows.append(row if predictions is first else compared(row, predictions, first))
    if output is not None:
        from vocabkit.files import write_whole

        records = [
            {"model": str(model), "scoring": name, **one.to_json()}
            for name, each in found.items()
            for model, predictions in each
            for one in predictions
        ]
        write_whole(output, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    if as_json:
        console.result_json({"rows": [row.to_json() for row in rows]})
        return
    if output is not None:
        console.result(f"{len(questions):,} questions; what was chosen is in {output}.")
    if rows:
        _print(rows, shots)


def _questions(
    data: Sequence[Path],
    limit: int | None,
    shots: int,
    shots_from: Path | None,
    headline: str,
    prompt_file: Path | None,
    scoring: Sequence[str],
) -> tuple[list[Question], dict[str, list[Question]], Style]:
    """Return what is asked, what is shown before it, and how."""
    from vocabkit.measure.choice_prompts import Style, style_for
    from vocabkit.measure.questions import first_of_each, read_questions
    from vocabkit.measure.records import read_text

    if bool(shots) != bool(shots_from):
        raise click.UsageError("--shots and --shots-from go together: how many questions to show, and where they are")
    questions = [question for path in data for question in read_questions(path)]
    shown: dict[str, list[Question]] = {}
    if shots_from is not None:
        answered = [one for one in read_questions(shots_from) if one.answer is not None]
        shown = first_of_each(answered, shots)
        missing = sorted({one.subject for one in questions} - set(shown))
        if missing:
            raise VocabkitError(
                f"{shots_from} has no answer for {', '.join(missing[:3])}; name its files like those of --data"
            )
    if limit:
        questions = [one for some in first_of_each(questions, limit).values() for one in some]
    style = style_for(questions)
    if prompt_file is not None:
        style = Style(body=read_text(prompt_file).rstrip("\n"))
    if "{choices}" not in style.body and set(scoring or ("letters",)) != {"texts"}:
        raise VocabkitError("the prompt has no {choices}; write where they go, or choose --score texts")
    return questions, shown, Style(headline, style.body)


def _predictions(
    model: Path,
    how: Any,
    as_chat: bool,
    template: str,
    questions: Sequence[Question],
    shots: dict[str, list[Question]],
    style: Style,
    scoring: Sequence[str],
    max_new_tokens: int,
    progress: Progress,
) -> dict[str, list[Prediction]]:
    from vocabkit.cli.asking import open_asked
    from vocabkit.measure.choice import LETTERS, PER_BYTE, TEXTS, WRITTEN, score, write

    def count(done: int) -> None:
        progress.count(done, len(questions), "questions")

    progress.step(f"Loading {model}")
    subject: Subject = open_asked(model, how, as_chat=as_chat, template=template)
    found: dict[str, list[Prediction]] = {}
    scored = [name for name in (LETTERS, TEXTS, PER_BYTE) if name.partition("/")[0] in scoring]
    shortened = 0
    if scored:
        progress.step(f"Asking {model}")
        predictions, shortened = score(subject, questions, shots, style, scored, count)
        found |= predictions
    if WRITTEN in scoring:
        progress.step(f"Letting {model} write")
        found[WRITTEN], left = write(subject, questions, shots, style, max_new_tokens, count)
        shortened = max(shortened, left)
    if shortened:
        console.note(f"note: {model}: {shortened:,} questions had fewer shots, for its context is too short")
    return found


def _print(rows: Sequence[Accuracy], shots: int) -> None:
    cells = []
    for row in rows:
        letters = " ".join(f"{letter} {share:.0%}" for letter, share in row.chosen.items())
        difference = "" if row.against is None else f"{row.against.value:+.1%}"
        interval = ""
        if row.against is not None and row.against.low is not None and row.against.high is not None:
            interval = f"{row.against.low:+.1%} to {row.against.high:+.1%}"
        cells.append(
            [row.model, row.scoring, f"{row.correct:,} of {row.questions:,}", f"{row.accuracy:.1%}",
             f"{row.low:.1%}-{row.high:.1%}", f"{row.macro:.1%}", difference, interval, letters]
        )  # fmt: skip
    first = rows[0]
    columns = ["model", "scored by", "right", "share", "95 %", "mean of subjects", "to first", "95 %", "chosen"]
    title = f"{first.questions:,} questions, {len(first.subjects):,} subjects, {shots} shots"
    console.table(f"{title}; guessing gives {first.chance:.1%}", columns, cells)
    for row in rows:
        where = f"{row.model} by {row.scoring}"
        if row.unread:
            console.note(f"note: {where}: {row.unread:,} answers name no choice, and count as wrong")
        if row.low <= row.chance <= row.high:
            console.note(f"note: {where} is not told from guessing by these questions")
        if row.against is not None and row.against.against() == "not resolved":
            console.note(f"note: {where} is not told from {first.model} by these questions")
        favourite = max(row.chosen, key=lambda letter: row.chosen[letter], default="")
        if favourite and row.chosen[favourite] > FAVOURITE and row.questions >= 10:
            console.note(
                f"note: {where} chose {favourite} {row.chosen[favourite]:.0%} of the time, whatever was asked"
            )


def _only_tasks(scoring: object, shots_from: object, headline: object, prompt: object, output: object) -> None:
    said = {"--score": scoring, "--shots-from": shots_from, "--headline": headline, "--prompt": prompt, "-o": output}
    for name, value in said.items():
        if value:
            raise click.UsageError(f"{name} goes with --data; a task of --tasks has its own")


def _harness(
    models: Sequence[Path],
    tasks: Sequence[str],
    shots: int,
    limit: int | None,
    as_chat: bool,
    how: Any,
    as_json: bool,
) -> None:
    from vocabkit.infer.harness import need_harness, run_tasks
    from vocabkit.infer.load import open_model

    need_harness()
    if how.stretch is not None:
        raise click.UsageError("--context and --rope go with --data; the harness runs a model as it is")

    rows = []
    with console.progress(as_json) as progress:
        for model in models:
            progress.step(f"Loading {model}")
            opened, tokenizer = open_model(model, how)
            progress.step(f"Asking {model}")
            found = run_tasks(opened, tokenizer, tasks, shots=shots or None, limit=limit, as_chat=as_chat)
            rows += [{"model": str(model), **row} for row in found]
    if as_json:
        console.result_json({"rows": rows})
        return
    cells = [
        [row["model"], row["task"], row["metric"], f"{row['samples']:,}", f"{row['value']:.4f}",
         "" if row["error"] is None else f"±{1.96 * row['error']:.4f}"]
        for row in rows
    ]  # fmt: skip
    console.table("By lm-evaluation-harness", ["model", "task", "metric", "samples", "value", "95 %"], cells)
