"""`vocabkit.json`: what a folder is, how it was made and the checksum of every file in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vocabkit.copying import checksum_of
from vocabkit.errors import VocabkitError
from vocabkit.files import MANIFEST, sha256, write_whole

XXH3 = "xxh3_128:"
INHERITED = ("base", "language", "new_tokens", "added_special", "size", "padded_size", "pretokenizer", "template")
LIBRARIES = ("vocabkit", "numpy", "sentencepiece", "tokenizers")


def write_manifest(
    folder: Path,
    command: str,
    *,
    arguments: Mapping[str, Any],
    inputs: Sequence[Path],
    checksums: Mapping[str, str] | None = None,
    **facts: Any,
) -> None:
    """Describe `folder` in its manifest; call it last, when every other file is there.

    checksums: file name -> checksum of those that are known already, as `checksum` gives them.
    The manifest holds no time and no machine, so the same inputs give the same bytes.
    """
    known = checksums or {}
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = sorted(path.relative_to(folder).as_posix() for path in paths)
    manifest = {
        "command": command,
        "arguments": dict(arguments),
        "versions": {name: version(name) for name in LIBRARIES},
        "inputs": [{"name": path.name, "sha256": sha256(path)} for path in inputs],
        **facts,
        "files": {name: known.get(name) or checksum(folder / name) for name in files},
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def record_file(folder: Path, name: str) -> None:
    """Write the checksum of a file that was changed on purpose into the manifest, when the folder has one."""
    manifest = read_manifest(folder)
    if manifest is not None:
        manifest["files"][name] = checksum(folder / name)
        text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
        write_whole(folder / MANIFEST, text + "\n")


def inherited(folder: Path) -> dict[str, Any]:
    """Return the facts of a model's manifest that stay true of what is made of it; {} when it has none."""
    return {name: value for name, value in (read_manifest(folder) or {}).items() if name in INHERITED}


def checksum(path: Path) -> str:
    """Return a file's SHA-256; weights get "xxh3_128:" and their XXH3, which is as fast as reading them."""
    return f"{XXH3}{checksum_of(path)}" if path.suffix == ".safetensors" else sha256(path)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of `folder`, None when there is none; raises VocabkitError when it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise VocabkitError(f"{path} is damaged ({error}); make the folder again") from error
    if not isinstance(manifest, dict) or "files" not in manifest:
        raise VocabkitError(f"{path} is no manifest of vocabkit; make the folder again")
    return manifest


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the files of `folder` that are missing or differ from their checksum in the manifest."""
    wrong = []
    for name, written in manifest["files"].items():
        path = folder / name
        if not path.is_file() or checksum(path) != written:
            wrong.append(name)
    return wrong
