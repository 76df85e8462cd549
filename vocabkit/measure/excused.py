"""What is in another language and no switch: code, addresses, units, names, quotations, words of the prompt."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from vocabkit.measure.switches import Word

# A name, a quotation or a gloss is at most so long, in words.
MOST_NAME_WORDS = 3
MOST_QUOTED_WORDS = 6
_PARTICLES = "an and at de del der di du el en et for in la le of on the to und van von with"
# May stand inside a name beside its words with capitals, and do not make it longer.
PARTICLES = frozenset(_PARTICLES.split())
# English that answers slip into, never a name however it is written.
_NO_NAMES = (
    "also although answer because but conclusion example finally first hello hey hi however if lastly maybe next no "
    "note ok okay please question second since so solution sorry step summary sure thank thanks then therefore third "
    "thus well welcome when while wow yes you your"
)
NO_NAMES = frozenset(_NO_NAMES.split())

UNITS = (
    "km cm mm nm µm μm m kg mg µg μg g t ml cl dl l L s ms ns min h d Hz kHz MHz GHz W kW MW GW kWh V kV A mA Ah mAh "
    "C F K Pa hPa kPa bar J kJ kcal cal N B kB KB MB GB TB bit kbit Mbit kbps Mbps Gbps px pt dpi fps rpm mph kmh "
    "USD EUR GBP JPY CNY INR am pm AM PM x"
)
# Left out before anything is looked at, in this order.
_BLANK = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # Code in fences; an answer that was cut short ends inside one.
        (r"(?:```|~~~).*?(?:```|~~~|\Z)", re.DOTALL),
        (r"``[^\n]+?``|`[^`\n]+`", 0),
        (r"\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)", re.DOTALL),
        (r"\$[^$\n]*[\\^_=+*/][^$\n]*\$|\\[A-Za-z]+", 0),
        (r"</?[A-Za-z][^<>\n]*>", 0),
        (r"(?:https?|ftp)://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", 0),
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", 0),
        # example.org/page, module.function, file.txt, some_name, call()
        (r"(?<![A-Za-z0-9])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[a-z]{2,}(?:/[A-Za-z0-9\-._~/?#=&%+]*)?", 0),
        (r"(?<![A-Za-z0-9])[A-Za-z0-9.]*_[A-Za-z0-9_.]*|[A-Za-z0-9_.]+\(\)", 0),
        (rf"(?<![A-Za-z])\d[\d.,]*\s?[°%]?(?:{'|'.join(UNITS.split())})(?:[²³23]|/[a-z]+[²³23]?)?(?![A-Za-z])", 0),
    )
)
_QUOTED = re.compile(
    r"“[^“”\n]*”|‘[^‘’\n]*’|「[^「」\n]*」|『[^『』\n]*』|《[^《》\n]*》|〈[^〈〉\n]*〉|«[^«»\n]*»|„[^„“\n]*“"
    r'|"[^"\n]*"|(?<!\w)\'[^\'\n]*\'(?!\w)|\([^()\n]*\)|（[^（）\n]*）|\[[^\[\]\n]*\]|【[^【】\n]*】'
)


def blanked(text: str) -> str:
    """Return `text`, as long as before, with spaces for code, formulas, addresses and numbers with units."""
    for pattern in _BLANK:
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return text


def quotations(text: str) -> list[tuple[int, int]]:
    """Return where something stands between quotation marks or brackets."""
    return [match.span() for match in _QUOTED.finditer(text)]


def is_excused(
    run: Sequence[Word], text: str, quoted: Collection[tuple[int, int]], prompt_words: Collection[str], is_all: bool
) -> bool:
    """Return whether words side by side are no switch.

    They are none when all of them stand in the prompt; when they are few and each is a name, an acronym, a symbol of
    one letter or in the prompt; or when they are few and between quotation marks or brackets.
    quoted: of `quotations`.  prompt_words: casefolded.  is_all: the text holds nothing else, which nothing excuses.
    """
    if is_all:
        return False
    spelled = [text[word.start : word.end] for word in run]
    in_prompt = [word.casefold() in prompt_words for word in spelled]
    if all(in_prompt):
        return True
    if len(run) <= MOST_QUOTED_WORDS and any(start < run[0].start and run[-1].end < end for start, end in quoted):
        return True
    rest = [
        (word, known)
        for word, spelling, known in zip(run, spelled, in_prompt, strict=True)
        if spelling.casefold() not in PARTICLES
    ]
    return 0 < len(rest) <= MOST_NAME_WORDS and all(known or _is_name(word, text) for word, known in rest)


def _is_name(word: Word, text: str) -> bool:
    """Return whether a word is a symbol, or holds a capital or stands at a digit: x, DNA, Paris, iPhone, mp3, 5G."""
    if word.letters == 1:
        return True
    spelled = text[word.start : word.end]
    around = text[max(0, word.start - 1) : word.start] + text[word.end : word.end + 1]
    has_capital = any(character.isupper() for character in spelled)
    return spelled.casefold() not in NO_NAMES and (has_capital or any(c.isdigit() for c in around))
