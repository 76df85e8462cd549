"""`vocabkit diagnose`: name what is wrong with an extended model, and write a mended copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry

if TYPE_CHECKING:
    from vocabkit.diagnose.finding import Diagnosis, Finding

EXAMPLES = 5
# What `verify` proves that a diagnosis asks too.
COMPARED = ("G1", "G5")


@click.command()
@click.argument("model")
@click.option("--against", metavar="BASE", help="The model or tokenizer it was made from: judge only what is new.")
@click.option("--lang", metavar="CODE", help="Whose script may change.  [default: as recorded, or guessed]")
@click.option("--fix", is_flag=True, help="Write a mended copy to --output, as far as that is safe.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the mended copy.")
@click.option("--link", is_flag=True, help="Hard-link files that do not change, instead of copying them.")
@options.force
@options.as_json
@click.pass_obj
def diagnose(
    registry: Registry,
    model: str,
    against: str | None,
    lang: str | None,
    fix: bool,
    output: Path | None,
    link: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Name the known failures of an extended model or tokenizer, with evidence and mend.

    MODEL is a model folder, a tokenizer folder, a tokenizer file or a GGUF file, whoever made it.

    \b
    Example:
      vocabkit diagnose ./somebodys-llama-zh --against ./Llama-3.2-1B
      vocabkit diagnose ./somebodys-llama-zh --fix -o mended

    Exit code 1 when something is found; with --fix, when something is left in the copy.
    """
    from vocabkit.diagnose.checks import diagnose as run
    from vocabkit.diagnose.mend import mend
    from vocabkit.files import check_target

    if fix != (output is not None):
        raise click.UsageError("--fix needs --output for the copy, and --output needs --fix")
    folder = Path(model)
    if output is not None:
        if not folder.is_dir():
            raise click.UsageError(f"--fix mends folders, and {model} is none")
        check_target(output, force)
    with console.progress(as_json) as progress:
        common: dict[str, Any] = {"texts": _texts(), "elsewhere": _elsewhere(), "progress": progress.step}
        found = run(model, against=against, **common)
        compared = _compared(model, against, lang, registry, found)
        left: tuple[Finding, ...] | None = None
        if output is not None and any(finding.edits for finding in found.findings):
            progress.step("Writing the mended copy")
            mend(folder, output, found.findings, link=link, force=force)
            # What was mended is what is not found any more.
            left = run(output, against=against, **common).findings
    findings = (*found.findings, *compared)
    names = {finding.name for finding in left} if left is not None else {finding.name for finding in findings}
    fixed = [finding.name for finding in found.findings if finding.edits and finding.name not in names]
    if as_json:
        document: dict[str, Any] = {"model": model, "against": against, **found.to_json(), "healthy": not findings}
        document["findings"] = [finding.to_json() for finding in findings]
        if fix:
            document |= {"output": str(output) if left is not None else None, "fixed": fixed}
        console.result_json(document)
    else:
        _print(model, against, findings, found, fixed if fix else None)
        if left is not None:
            console.result(f"Mended copy: {output}")
        elif fix and findings:
            console.result("Nothing can be mended safely; no copy was written")
    return 1 if (len(findings) > len(fixed) if fix else findings) else 0


def _compared(
    model: str, against: str | None, lang: str | None, registry: Registry, found: Diagnosis
) -> list[Finding]:
    """Return what `verify` finds: ids that moved, and text without the target script that changed."""
    from vocabkit.diagnose.finding import Finding
    from vocabkit.errors import VocabkitError
    from vocabkit.manifest import read_manifest
    from vocabkit.tokenizer import open_tokenizer
    from vocabkit.vocabulary.verify import verify

    if against is None or any(finding.name == "other family" for finding in found.findings):
        return []
    try:
        candidate, base = open_tokenizer(model), open_tokenizer(against)
        manifest = (read_manifest(Path(model)) if Path(model).is_dir() else None) or {}
    except VocabkitError:
        return []  # said already
    drift = manifest.get("arguments", {}).get("max_drift")
    code = lang or manifest.get("language")
    language = registry.language(code) if code else None
    certificate = verify(candidate, base, language=language, max_drift=drift, only=COMPARED)
    checks = {check.name: check for check in certificate.checks}
    guessed = "" if language else "; the script was guessed from the new tokens, --lang names it"
    words = {
        "G1": ("moved ids", "every row that moved means another token than it was trained as"),
        "G5": (
            "drift",
            "text of the base's languages is cut as the model never saw it, and it reads that text worse",
        ),
    }
    return [
        Finding(
            name,
            f"{check.name}, {check.title}, fails: {len(check.items):,} tokens; {check.detail}"
            if check.name == "G1"
            else f"{check.name}, {check.title}, fails: {check.detail}{guessed}",
            follows,
            "extend the base anew with `vocabkit extend`; `vocabkit verify` shows all guarantees",
            check.items,
            unsafe="the model was trained with these ids and cuts",
        )
        for key, (name, follows) in words.items()
        if (check := checks.get(key)) is not None and not check.ok
    ]


def _texts() -> list[str]:
    from vocabkit.vocabulary import probes

    return [*probes.english_lines(), *probes.mixed_lines(500)]


def _elsewhere() -> Any:
    from vocabkit.vocabulary.fresh_process import encode_in_fresh_process

    return encode_in_fresh_process


def _print(
    model: str, against: str | None, findings: tuple[Finding, ...], found: Diagnosis, fixed: list[str] | None
) -> None:
    beside = f" against {against}" if against else ""
    number = len(findings)
    verdict = f"{number} known failure{'s' if number != 1 else ''}" if number else "none of the known failures"
    console.result(f"{model}{beside}: {verdict}")
    for finding in findings:
        console.result(f"  {finding.name}: {finding.problem}")
        console.result(f"      follows: {finding.follows}")
        console.result(f"      mend:    {finding.mend}")
        if fixed is not None:
            console.result(f"      --fix:   {_outcome(finding, fixed)}")
        elif finding.edits:
            console.result("      --fix mends it")
        for item in finding.items[:EXAMPLES]:
            console.result(f"          {item[:100]}")
        if len(finding.items) > EXAMPLES:
            console.result(f"          ... and {len(finding.items) - EXAMPLES:,} more (--json lists them)")
    for line in found.unchecked:
        console.result(f"  not looked at: {line}")


def _outcome(finding: Finding, fixed: list[str]) -> str:
    if finding.name in fixed:
        return "mended: " + ", ".join(f"{edit.file} {'.'.join(edit.keys)}" for edit in finding.edits)
    return f"left as it is: {finding.unsafe or 'it is still found in the copy'}"
