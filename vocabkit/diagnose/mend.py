"""Write a mended copy: the same files, with the changes that are safe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocabkit.copying import copy_file
from vocabkit.diagnose.finding import Edit, Finding
from vocabkit.errors import VocabkitError
from vocabkit.files import MANIFEST, whole_folder
from vocabkit.manifest import XXH3, inherited, write_manifest
from vocabkit.rows.checkpoint import read_json


def mend(folder: Path, target: Path, findings: Sequence[Finding], *, link: bool = False, force: bool = False) -> None:
    """Copy `folder` to `target` with the edits of `findings`; it appears whole or not at all.

    link: hard-link the files that do not change, instead of copying them.
    Raises VocabkitError when `target` exists or lies in `folder`, or the disk is full.
    """
    source, at = folder.resolve(), target.resolve()
    if at == source or source in at.parents:
        raise VocabkitError(f"{target} is in {folder}; choose another --output, for nothing is mended in place")
    edits: dict[str, list[Edit]] = {}
    for finding in findings:
        for edit in finding.edits:
            edits.setdefault(edit.file, []).append(edit)
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    with whole_folder(target, force=force) as temporary:
        checksums = {}
        for name in names:
            if str(name) == MANIFEST or str(name) in edits or name.parts[0].startswith("."):
                continue
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            checksum = copy_file(folder / name, temporary / name, link=link)
            if name.suffix == ".safetensors":
                checksums[name.as_posix()] = XXH3 + checksum
        for file, changes in edits.items():
            _write(temporary / file, _edited(folder / file, changes))
        write_manifest(
            temporary,
            "diagnose",
            arguments={"fix": True},
            inputs=[folder / file for file in sorted(edits) if (folder / file).is_file()],
            checksums=checksums,
            mended=[finding.name for finding in findings if finding.edits],
            **inherited(folder),
        )


def _edited(path: Path, edits: Sequence[Edit]) -> dict[str, Any]:
    data = read_json(path) if path.is_file() else {}
    for edit in edits:
        section = data
        for key in edit.keys[:-1]:
            section = section.setdefault(key, {})
        section[edit.keys[-1]] = edit.value
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
