"""Tokens to text, piece by piece: never half a character, never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence


class TextStream:
    """What a growing list of ids says.

    token_bytes: the bytes of an id, None for special ones, which say nothing.
    stop: strings that end the text; neither they nor what follows is ever returned.
    """

    def __init__(self, token_bytes: Callable[[int], bytes | None], stop: Sequence[str] = ()) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = tuple(stop)
        self._held = ""
        self.has_stopped = False

    def push(self, token: int) -> str:
        """Return the text that is certain now; nothing while a character or a stop string may be half there."""
        return self._released(self._decoder.decode(self._token_bytes(token) or b""), is_last=False)

    def finish(self) -> str:
        """Return what was held back; the first bytes of a character whose last ones never came say nothing."""
        return self._released("", is_last=True)

    def _released(self, text: str, *, is_last: bool) -> str:
        if self.has_stopped:
            return ""
        self._held += text
        places = [place for one in self._stop if (place := self._held.find(one)) >= 0]
        if places:
            self.has_stopped = True
            out, self._held = self._held[: min(places)], ""
            return out
        keep = 0 if is_last else self._beginning_of_a_stop()
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def _beginning_of_a_stop(self) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        longest = max((len(one) for one in self._stop), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(one.startswith(self._held[-size:]) for one in self._stop):
                return size
        return 0
