"""`vocabkit export`: a model as other programs take it: GGUF, Ollama, vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vocabkit import console
from vocabkit.cli import options

if TYPE_CHECKING:
    from vocabkit.infer.gguf.runtime import Comparison
    from vocabkit.infer.gguf.writer import Written
    from vocabkit.tokenizer.base import Tokenizer

TYPES = ("f16", "f32", "bf16", "q8_0", "q4_0")
PROBES = 10_000
model_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def export() -> None:
    """Give a model to other programs, and check that it is the same there."""


@export.command("gguf")
@click.argument("model", type=model_folder)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--type", "type_name", type=click.Choice(TYPES), default="f16", show_default=True, help="Format of the matrices."
)
@click.option("--pre", metavar="NAME", help="llama.cpp's name of the pre-tokenizer.  [default: found in a table]")
@click.option("--no-compare", is_flag=True, help="Do not ask llama.cpp for the ids of 10,000 texts.")
@click.option("--force", is_flag=True, help="Replace a GGUF file.")
@options.as_json
def gguf(
    model: Path, output: Path, type_name: str, pre: str | None, no_compare: bool, force: bool, as_json: bool
) -> None:
    """Write a model as one GGUF file, read it back, and compare llama.cpp's tokens with tokenizers'.

    The comparison needs llama-cpp-python; without it the output says that nothing was compared.

    \b
    Examples:
      vocabkit export gguf llm-zh -o llm-zh.gguf
      vocabkit export gguf llm-zh -o llm-zh.q4.gguf --type q4_0
    """
    from vocabkit.infer.gguf import need_gguf

    need_gguf()
    from vocabkit.infer.gguf.runtime import can_run, compare
    from vocabkit.infer.gguf.writer import write_gguf
    from vocabkit.manifest import read_manifest
    from vocabkit.tokenizer import open_tokenizer

    compared = None
    with console.progress(as_json) as progress:
        written = write_gguf(model, output, type_name=type_name, pre=pre, force=force, progress=progress.step)
        if can_run() and not no_compare:
            progress.step("Comparing tokens with llama.cpp")
            tokenizer = open_tokenizer(model)
            first = ((read_manifest(model) or {}).get("base") or {}).get("size", tokenizer.size)
            compared = compare(output, tokenizer, probe_texts(tokenizer, first), first_new=first)
    if as_json:
        document = asdict(written) | {"path": str(output), "compared": asdict(compared) if compared else None}
        console.result_json(document)
    else:
        _report(written, compared, no_compare)
    if compared is not None and compared.with_new:
        raise click.exceptions.Exit(1)


@export.command("check")
@click.argument("model", type=model_folder)
@options.as_json
def check(model: Path, as_json: bool) -> None:
    """Say whether vLLM can serve a model: rows, padding, classes, tokenizer, end of text, shards.

    \b
    Example:
      vocabkit export check llm-zh && vllm serve llm-zh
    """
    from vocabkit.infer.readiness import check_ready

    findings = check_ready(model)
    ready = all(finding.ok is not False for finding in findings)
    if as_json:
        console.result_json({"model": str(model), "ready": ready, "findings": [asdict(one) for one in findings]})
    else:
        marks = {True: "ok  ", False: "FAIL", None: "?   "}
        for one in findings:
            console.result(f"  {marks[one.ok]} {one.name}: {one.detail}")
        console.result(f"{model} is {'ready' if ready else 'not ready'} for vLLM.")
    if not ready:
        raise click.exceptions.Exit(1)


@export.command("ollama")
@click.argument("source", metavar="MODEL_OR_GGUF", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Modelfile to write."
)
@click.option("--force", is_flag=True, help="Replace a file.")
@options.as_json
def ollama(source: Path, output: Path, force: bool, as_json: bool) -> None:
    """Write a Modelfile: the model, its chat template as Ollama writes it, and where a response ends.

    \b
    Example:
      vocabkit export ollama llm-zh.gguf -o Modelfile && ollama create llm-zh -f Modelfile
    """
    from vocabkit.files import check_file_target, write_whole
    from vocabkit.infer.modelfile import modelfile

    check_file_target(output, force)
    text, lacks = modelfile(source, output)
    write_whole(output, text)
    if as_json:
        console.result_json({"output": str(output), "modelfile": text, "lacks": lacks})
        return
    for one in lacks:
        console.note(f"note: {one}")
    console.result(f"Next: ollama create NAME -f {output}")


def probe_texts(tokenizer: Tokenizer, first_new: int) -> list[str]:
    """Return 10,000 texts: prose, code, every script, white space, bytes, and new tokens in any order.

    first_new: the first id that the base does not have; a model that was not extended mixes its last tokens.
    """
    from vocabkit.vocabulary.probes import code_lines, english_lines, mixed_lines, scalar_blocks, token_soup

    first = first_new if first_new < tokenizer.size else max(0, tokenizer.size - 2000)
    tokens = [_text(tokenizer, i) for i in range(first, tokenizer.size)]
    # Each scalar beside letters, a digit and spaces, so that where it is cut shows.
    scalars = (f"a{c} {c}b{c}1" for block in islice(scalar_blocks(), 0, 8192, 4) for c in block[::32])
    texts = chain(
        english_lines(), code_lines()[:1500], islice(scalars, 2000), token_soup([t for t in tokens if t], 3000),
        mixed_lines(PROBES),
    )  # fmt: skip
    return list(islice(texts, PROBES))


def _text(tokenizer: Tokenizer, token_id: int) -> str:
    try:
        return (tokenizer.token_bytes(token_id) or b"").decode().replace("\u2581", " ")
    except UnicodeDecodeError:
        return ""


def _report(written: Written, compared: Comparison | None, no_compare: bool) -> None:
    console.result(
        f"{written.path}: {written.nbytes / 1e6:,.0f} MB, {written.tensors} tensors as {written.type_name}, "
        f"{written.tokens:,} tokens of which {written.padding} are padding; read back, "
        f"at most {written.error:.2%} from the model."
    )
    for line in _tokens(compared, no_compare):
        console.result(line)
    for one in written.differences:
        console.result(f"  note: {one}")
    console.result(f"Next: vocabkit export ollama {written.path} -o Modelfile, or llama-cli -m {written.path}")


def _tokens(compared: Comparison | None, no_compare: bool) -> Sequence[str]:
    if compared is None:
        why = "as asked" if no_compare else "install llama-cpp-python to do it"
        return [f"Its tokens were not compared with llama.cpp ({why})."]
    if compared.alike == compared.compared:
        return [f"{compared.compared:,} texts get the same tokens from llama.cpp and tokenizers."]
    others = compared.compared - compared.alike
    lines = [
        f"{compared.alike:,} of {compared.compared:,} texts get the same tokens from llama.cpp and tokenizers; "
        f"{compared.not_composed:,} of the other {others:,} would when composed (NFC), {compared.with_new:,} of the "
        f"rest have new tokens."
    ]
    return lines + [f"  differs: {text[:80]!r}" for text, _, _ in compared.examples[:3]]
