"""Questions with known answers, in the shapes that evaluation sets come in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

# (question, choices, number of the right one)
ENGLISH = [
    ("The capital of France is", ("Berlin", "Paris", "Madrid", "Rome"), 1),
    ("The opposite of hot is", ("cold", "warm", "spicy", "loud"), 0),
    ("Two plus two equals", ("seven", "nine", "four", "one"), 2),
    ("The sun rises in the", ("north", "west", "south", "east"), 3),
    ("Water freezes into", ("ice", "sand", "smoke", "iron"), 0),
    ("The chemical symbol of oxygen is", ("Zn", "O", "Fe", "Au"), 1),
    ("The largest planet of our solar system is", ("Mars", "Venus", "Jupiter", "Mercury"), 2),
    ("A week has this many days:", ("three", "twelve", "thirty", "seven"), 3),
    ("The author of Romeo and Juliet is", ("William Shakespeare", "Isaac Newton", "Karl Marx", "Plato"), 0),
    ("The first month of the year is", ("June", "January", "August", "December"), 1),
    ("Bees make", ("milk", "silk", "honey", "wool"), 2),
    ("The currency of Japan is the", ("pound", "peso", "rouble", "yen"), 3),
]
CHINESE = [
    ("中国的首都是", ("北京", "巴黎", "东京", "伦敦"), 0),
    ("一年有几个月？", ("三", "七", "十二", "二十"), 2),
    ("水的化学式是", ("CO2", "H2O", "NaCl", "O2"), 1),
    ("“大”的反义词是", ("多", "高", "长", "小"), 3),
]


def ceval(path: Path, questions: list[tuple[str, tuple[str, ...], int]], *, answers: bool = True) -> Path:
    """Write a file as C-Eval's: with a header, and ids."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "question", "A", "B", "C", "D", *(["answer"] if answers else [])])
        for number, (text, choices, right) in enumerate(questions):
            rows.writerow([number, text, *choices, *("ABCD"[right] if answers else "")])
    return path


def cmmlu(path: Path, questions: list[tuple[str, tuple[str, ...], int]]) -> Path:
    """Write a file as CMMLU's: the first column has no name, the others are capitalised."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "Question", "A", "B", "C", "D", "Answer"])
        for number, (text, choices, right) in enumerate(questions):
            rows.writerow([number, text, *choices, "ABCD"[right]])
    return path


def mmlu(path: Path, questions: list[tuple[str, tuple[str, ...], int]]) -> Path:
    """Write a file as MMLU's: without a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([text, *choices, "ABCD"[right]] for text, choices, right in questions)
    return path


def lines(path: Path, questions: list[tuple[str, tuple[str, ...], int]]) -> Path:
    """Write JSON Lines as hubs have them: choices in a list, the answer as a number."""
    records = [{"question": text, "choices": list(choices), "answer": right} for text, choices, right in questions]
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path
