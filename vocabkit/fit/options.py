"""Read --init-option values into a dataclass of numbers."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, TypeVar

from vocabkit.errors import VocabkitError
from vocabkit.rows.request import RowRequest

Options = TypeVar("Options")


def numbers(request: RowRequest, kind: type[Options], name: str) -> Options:
    """Return `kind` with what the request's options say; its fields are int or float, and have defaults.

    Raises VocabkitError for an option it does not have, and for what is no number from 0 on.
    """
    known: dict[str, Any] = {field.name: type(field.default) for field in fields(kind)}  # type: ignore[arg-type]
    found = {}
    for option, text in (request.options or {}).items():
        if option not in known:
            raise VocabkitError(f"--init {name} has no option {option!r}; it takes {', '.join(known)}")
        try:
            value = known[option](text)
        except ValueError as error:
            raise VocabkitError(
                f"--init-option {option}={text} is no {'whole ' * (known[option] is int)}number"
            ) from error
        if not value >= 0 or math.isinf(value):
            raise VocabkitError(f"--init-option {option}={text}: it must be a number from 0 on")
        found[option] = value
    return kind(**found)
