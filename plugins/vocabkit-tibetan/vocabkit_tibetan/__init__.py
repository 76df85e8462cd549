"""Dzongkha and Classical Tibetan for vocabkit, with a reader, an initialiser and a command for Tibetan script.

vocabkit imports this module and calls its hooks; what they offer is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vocabkit import hookimpl
from vocabkit_tibetan.languages import CLASSICAL_TIBETAN, DZONGKHA

if TYPE_CHECKING:
    import click
    import numpy as np
    from numpy.typing import NDArray

    from vocabkit.corpus import Text
    from vocabkit.rows.request import RowRequest


@hookimpl
def register_languages(register: Callable[..., None]) -> None:
    """Offer Dzongkha and Classical Tibetan."""
    register(DZONGKHA)
    register(CLASSICAL_TIBETAN)


@hookimpl
def register_corpus_readers(register: Callable[..., None]) -> None:
    """Offer `pecha:PATH`."""

    def read(argument: str) -> Iterator[Text]:
        from vocabkit_tibetan.pecha import read_pecha

        return read_pecha(argument)

    register("pecha", read)


@hookimpl
def register_initializers(register: Callable[..., None]) -> None:
    """Offer `tibetan-syllable`."""

    def make(request: RowRequest) -> NDArray[np.float32]:
        from vocabkit_tibetan.rows import syllable_rows

        return syllable_rows(request)

    register("tibetan-syllable", make)


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `vocabkit tibetan`."""
    from vocabkit_tibetan.command import tibetan

    cli.add_command(tibetan)
