"""Run tasks of lm-evaluation-harness on a model that is in memory already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocabkit.errors import VocabkitError

# What a task's file calls itself; the file may hold tags that only the harness can read.
NAME = re.compile(r"^(?:task|group):\s*[\"']?([\w.-]+)", re.MULTILINE)


def need_harness() -> None:
    """Raise VocabkitError, which says what to install, when lm-evaluation-harness is not there."""
    if find_spec("lm_eval") is None:
        raise VocabkitError("--tasks needs lm-evaluation-harness; run `pip install 'vocabkit[eval]'`")


def run_tasks(
    model: Any,
    tokenizer: Path,
    tasks: Sequence[str],
    *,
    shots: int | None = None,
    limit: int | None = None,
    as_chat: bool = False,
) -> list[dict[str, Any]]:
    """Return a row for each metric of each task: task, metric, value, error (its standard error), samples.

    tasks: names that the harness knows, or YAML files of one's own.  shots, limit: None for the task's own.
    The harness sums log-probabilities over the tokens of an answer too; `acc_norm` divides by its characters.
    Raises VocabkitError for a task that is not known, or whose data cannot be had.
    """
    need_harness()
    import transformers
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    names, folders = [], []
    for task in tasks:
        path = Path(task)
        if path.suffix in (".yaml", ".yml"):
            names.append(_named(path))
            folders.append(str(path.parent.resolve()))
        else:
            names.append(task)
    manager = TaskManager(include_path=folders or None)
    unknown = next((name for name in names if name not in manager.all_tasks), None)
    if unknown is not None:
        raise VocabkitError(
            f"lm-evaluation-harness has no task {unknown!r}; `lm-eval ls tasks` lists them, or name a YAML file"
        )
    spoken = transformers.AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    wrapped = HFLM(pretrained=model, tokenizer=spoken, backend="causal", batch_size=1, device=str(model.device))
    try:
        found = simple_evaluate(
            wrapped,
            tasks=list(names),
            num_fewshot=shots,
            limit=limit,
            apply_chat_template=as_chat,
            task_manager=manager,
            log_samples=False,
            bootstrap_iters=1000,
        )
    # What a task's data loader raises is the loader's own: no file, no network, no such column.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise VocabkitError(
            f"lm-evaluation-harness cannot run {', '.join(names)}: {type(error).__name__}: {reason}"
        ) from error
    return _rows(found or {})


def _named(path: Path) -> str:
    try:
        match = NAME.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise VocabkitError(f"{path} cannot be read: {error}; name a task's YAML file") from error
    if not match:
        raise VocabkitError(f"{path} names no task; write `task: NAME` in it")
    return match[1]


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for task, metrics in found.get("results", {}).items():
        for key, value in metrics.items():
            metric, _, how = key.partition(",")
            if not how or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = metrics.get(f"{metric}_stderr,{how}")
            rows.append(
                {
                    "task": task,
                    "metric": metric if how == "none" else f"{metric} ({how})",
                    "value": float(value),
                    "error": float(error) if isinstance(error, int | float) else None,
                    "samples": int(found.get("n-samples", {}).get(task, {}).get("effective", 0)),
                }
            )
    return rows
