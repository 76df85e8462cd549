"""The printable alphabet in which byte-level tokenizers spell bytes, and readable names for any token."""

from __future__ import annotations

import re


def _alphabet() -> dict[int, str]:
    # GPT-2's rule: printable Latin-1 stands for itself, the 68 other bytes move to U+0100 and up, in order.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


BYTE_TO_CHARACTER = _alphabet()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
_TO_LATIN1 = str.maketrans({character: chr(byte) for character, byte in CHARACTER_TO_BYTE.items()})
_FROM_LATIN1 = str.maketrans({chr(byte): character for byte, character in BYTE_TO_CHARACTER.items()})


def is_text(token: bytes) -> bool:
    """Return whether a token is whole characters, and neither begins nor ends within one."""
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


def bytes_of(spelling: str) -> bytes:
    """Return the bytes that a byte-level token spells: "ä½ł" -> b"\\xe4\\xbd\\xa0".

    Raises ValueError when `spelling` holds a character outside the alphabet (a special token).
    """
    try:
        return spelling.translate(_TO_LATIN1).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"{spelling!r} is not spelled in the byte-level alphabet") from error


def spelling_of(token: bytes) -> str:
    """Return the byte-level spelling of `token`: b"\\xe4\\xbd\\xa0" -> "ä½ł"."""
    return token.decode("latin-1").translate(_FROM_LATIN1)


def readable(token: bytes) -> str:
    """Return `token` as text; bytes that are not UTF-8 as escapes: b"\\xe4\\xbd" -> "<0xE4><0xBD>"."""
    return token.decode("utf-8", errors="vocabkit_escape")


_ESCAPE = re.compile(r"<0x([0-9A-F]{2})>")


def from_readable(text: str) -> bytes:
    """Invert `readable`: "<0xE4><0xBD>" -> b"\\xe4\\xbd"."""
    token = bytearray()
    end = 0
    for match in _ESCAPE.finditer(text):
        token += text[end : match.start()].encode()
        token.append(int(match[1], 16))
        end = match.end()
    return bytes(token + text[end:].encode())


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


def _register() -> None:
    import codecs

    codecs.register_error("vocabkit_escape", _escape)


_register()
