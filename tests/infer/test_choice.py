"""Multiple-choice questions: strings are scored, whatever tokens spell them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import quiz
import torch
import transformers
from runs import vocabkit, vocabkit_json

from vocabkit.cli.asking import open_asked
from vocabkit.errors import VocabkitError
from vocabkit.infer.load import Opening
from vocabkit.measure.choice import LETTERS, TEXTS, accuracy, score, write
from vocabkit.measure.choice_prompts import Style, chosen_letter, style_for
from vocabkit.measure.questions import Question, read_questions

Small = Callable[..., Path]
CPU = Opening(device="cpu")


def question(
    text: str = "Which?", choices: tuple[str, ...] = ("red", "green", "10", "100"), answer: int = 0
) -> Question:
    return Question("colours", text, choices, answer, "here")


@cache
def loaded(folder: Path) -> tuple[Any, Any]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def total_bits(folder: Path, text: str) -> float:
    """What transformers itself makes of a whole text, token by token, after its first."""
    model, tokenizer = loaded(folder)
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        scores = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
    return -float(scores.gather(1, ids[0, 1:, None]).sum()) / math.log(2)


def test_the_bits_of_an_answer_are_those_of_the_text_less_those_of_the_prompt(small: Small) -> None:
    folder = small("llama")
    asked = open_asked(folder, CPU, as_chat=False, template="auto")
    cases = [
        ("The capital of France is", ["Paris", "a city that is not named here", "Berlin"]),
        # Begins like the last one, which is not read again.
        ("The capital of France was never", ["Rome", "B"]),
        # The space of the prompt belongs to the answer's first token.
        ("Answer: ", ["Paris", "A", "9"]),
        ("中国的首都是：", ["北京", "上海市"]),
        ("The capital of France is", ["Paris"]),
    ]
    for prompt, answers in cases:
        space = "" if prompt[-1] in " ：" else " "
        found = asked.bits(prompt, answers)
        wanted = [total_bits(folder, prompt + space + one) - total_bits(folder, prompt) for one in answers]
        assert found == pytest.approx(wanted, rel=1e-4)


def test_every_file_format_gives_the_same_questions(tmp_path: Path) -> None:
    files = [
        quiz.ceval(tmp_path / "facts_val.csv", quiz.ENGLISH),
        quiz.cmmlu(tmp_path / "facts.csv", quiz.ENGLISH),
        quiz.mmlu(tmp_path / "facts_test.csv", quiz.ENGLISH),
        quiz.lines(tmp_path / "facts-dev.jsonl", quiz.ENGLISH),
    ]
    read = [[(one.subject, one.text, one.choices, one.answer) for one in read_questions(file)] for file in files]
    assert read[0] == [("facts", *one) for one in quiz.ENGLISH]
    assert all(one == read[0] for one in read)
    hub = {"question": "Q", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answerKey": "2"}
    named = {"question": "Q", "options": {"A": "x", "B": "y"}, "answer": "y", "subject": "own"}
    (tmp_path / "more.json").write_text(json.dumps([hub, named]), encoding="utf-8")
    first, second = read_questions(tmp_path / "more.json")
    assert (first.choices, first.answer, first.subject) == (("x", "y", "z"), 1, "more")
    assert (second.choices, second.answer, second.subject) == (("x", "y"), 1, "own")
    assert len(read_questions(tmp_path)) == 4 * len(quiz.ENGLISH) + 2


def test_a_model_that_knows_is_told_from_guessing_and_a_new_vocabulary_answers_alike(
    smollm2_model: Path, smollm2_extended: Path, tmp_path: Path
) -> None:
    data = quiz.ceval(tmp_path / "facts_val.csv", quiz.ENGLISH)
    chosen = tmp_path / "chosen.jsonl"
    found = vocabkit_json(
        "bench", "choice", smollm2_model, smollm2_extended, "--data", data, "--score", "texts", "--device", "cpu",
        "-o", chosen,
    )["rows"]  # fmt: skip
    base, extended = (row for row in found if row["scoring"] == "texts")
    # 8 of 12 when this was written; 7 are more than chance allows one time in a hundred.
    assert base["correct"] >= 7
    assert base["low"] > base["chance"] == 0.25
    assert base["against"] is None
    assert extended["correct"] == base["correct"]
    assert extended["against"] == {"value": 0.0, "low": None, "high": None}
    lines = [json.loads(line) for line in chosen.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 4 * len(quiz.ENGLISH)
    texts = [line for line in lines if line["scoring"] == "texts"]
    for one, other in zip(texts[:12], texts[12:], strict=True):
        assert one["chosen"] == other["chosen"]
        # New rows take a little probability from all English alike, and nothing else changes.
        assert other["bits"] == pytest.approx(one["bits"], abs=0.1)
        assert all(b >= a - 1e-3 for a, b in zip(one["bits"], other["bits"], strict=True))


def test_what_is_written_is_read(small: Small, tmp_path: Path) -> None:
    data = quiz.cmmlu(tmp_path / "zh.csv", quiz.CHINESE)
    found = vocabkit_json(
        "bench", "choice", small("llama"), "--data", data, "--score", "written", "--max-new-tokens", 4,
        "--device", "cpu",
    )["rows"]  # fmt: skip
    # A model of random weights writes no letters.
    assert found[0]["unread"] + sum(found[0]["chosen"].values()) * 4 == pytest.approx(4)
    assert found[0]["questions"] == 4


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", 1), (" (C) because", 2), ("The answer is B. The answer is D", 3), ("答案是C。", 2), ("选择 A", 0),
        ("Answer: **D**", 3), ("A dog is green", 1), ("it is green", 1), ("100", 3), ("", None),
        ("red or green", None), ("B because", 1), ("I think B fits", 1),
        ("Between A and B", None), ("E", None), ("正确答案为：B", 1), ("a", None),
    ],
)  # fmt: skip
def test_the_letter_in_a_written_answer(text: str, letter: int | None) -> None:
    assert chosen_letter(text, question()) == letter


def test_shots_come_first_and_never_hold_the_question_itself(small: Small) -> None:
    asked = open_asked(small("llama"), CPU, as_chat=False, template="auto")
    shots = [question(f"Shot {i}?", answer=i) for i in range(3)]
    style = Style(headline="About {subject}.")
    prompt = style.prompt(question(), shots[:1], ["A"])
    assert prompt.startswith("About colours.\n\nShot 0?\nA. red\nB. green\n")
    assert "Answer: A\n\nWhich?" in prompt
    assert prompt.endswith("D. 100\nAnswer:")
    assert style.without_choices.prompt(question(), [], []) == "About colours.\n\nWhich?\nAnswer:"
    assert style_for([question("中国的首都是哪里")]).body.endswith("答案：")
    seen: list[str] = []

    class Watched:
        def fits(self, text: str, answers: list[str], room: int = 0) -> bool:
            return len(text) < 200 and asked.fits(text, answers, room)

        def bits(self, text: str, answers: list[str]) -> list[float]:
            seen.append(text)
            return asked.bits(text, answers)

        def answers(self, texts: list[str], count: int) -> list[str]:
            return asked.answers(texts, count)

    shown = {"colours": [*shots, question()]}
    found, shortened = score(Watched(), [question()], shown, style, [LETTERS, TEXTS])
    # Too long for three: the oldest is left out; the shorter prompt without choices has room for all.
    assert "Shot 0?" not in seen[0]
    assert "Shot 1?" in seen[0]
    assert "Shot 2?" in seen[0]
    assert seen[0].count("Which?") == 1
    assert "Shot 0?\nAnswer: red\n\n" in seen[1]
    assert shortened == 1
    assert accuracy("m", LETTERS, found[LETTERS]).questions == 1
    written, _ = write(Watched(), [question()], {}, style, 3)
    assert written[0].text
    long = [question("Which " * 100)]
    with pytest.raises(VocabkitError, match="longer than the model's context"):
        score(Watched(), long, {}, style, [LETTERS])


def test_in_a_chat_the_answer_stands_in_the_response(small: Small) -> None:
    folder = small("llama")
    asked = open_asked(folder, CPU, as_chat=True, template="auto")
    _, tokenizer = loaded(folder)
    said = [{"role": "user", "content": "Which?"}]
    rendered = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert rendered.endswith("\n")
    wanted = [total_bits(folder, rendered + one) - total_bits(folder, rendered) for one in ("A", "green")]
    assert asked.bits("Which?", ["A", "green"]) == pytest.approx(wanted, rel=1e-4)
    alpaca = open_asked(folder, CPU, as_chat=True, template="alpaca")
    assert alpaca.bits("Which?", ["A", "green"]) != pytest.approx(wanted, rel=1e-2)


def test_bad_input_is_one_line(small: Small, tmp_path: Path) -> None:
    data = quiz.ceval(tmp_path / "facts_val.csv", quiz.ENGLISH)
    unknown = quiz.ceval(tmp_path / "hidden_test.csv", quiz.ENGLISH, answers=False)
    files = {
        "cells.csv": ("question,A,B,answer\nWhich?,x,y\n", "cells.csv line 2 has 3 cells and not 4"),
        "answer.csv": ("question,A,B,answer\nWhich?,x,y,Z\n", "has the answer 'Z', which is none of A, B"),
        "quote.csv": ('question,A,B,answer\n"Which?,x,y,A\n', "is no CSV"),
        "empty.csv": ("question,A,B,answer\n", "holds no question"),
        "one.jsonl": ('{"question": "Which?", "choices": ["x"]}\n', "has no choices"),
        "no.jsonl": ('{"ask": "Which?"}\n', "has no text in `question`"),
        "broken.jsonl": ("{\n", "is not JSON"),
        "list.jsonl": ("[1]\n", "is no JSON object"),
    }
    model = small("llama")
    for name, (content, message) in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        done = vocabkit("bench", "choice", model, "--data", tmp_path / name, code=1)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    folder = tmp_path / "none"
    folder.mkdir()
    (tmp_path / "bare.txt").write_text("Which one?", encoding="utf-8")
    (tmp_path / "short.txt").write_text("{question}\nAnswer:", encoding="utf-8")
    for arguments, code, message in (
        (("--data", folder), 1, "name a folder of questions"),
        ((), 2, "--data"),
        (("--data", data, "--tasks", "mmlu"), 2, "--data"),
        (("--data", data, "--shots", 2), 2, "go together"),
        (("--data", data, "--shots", 2, "--shots-from", unknown), 1, "has no answer for facts"),
        (("--data", unknown), 1, "write what was chosen with -o"),
        (("--data", data, "--prompt", tmp_path / "bare.txt"), 1, "has no {question}"),
        (("--data", data, "--prompt", tmp_path / "short.txt"), 1, "has no {choices}"),
        (("--tasks", "mmlu", "--score", "texts"), 2, "--score goes with --data"),
    ):
        done = vocabkit("bench", "choice", model, *arguments, code=code)
        assert message in done.stderr
    hidden = tmp_path / "hidden.jsonl"
    vocabkit("bench", "choice", model, "--data", unknown, "--limit", 2, "--device", "cpu", "-o", hidden)
    assert [json.loads(line)["answer"] for line in hidden.read_text(encoding="utf-8").splitlines()] == [None, None]


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="pip install 'vocabkit[eval]'")
@pytest.mark.filterwarnings("default")
def test_the_harness_and_we_choose_alike(smollm2_model: Path, tmp_path: Path) -> None:
    data = quiz.lines(tmp_path / "facts.jsonl", quiz.ENGLISH)
    task = tmp_path / "facts.yaml"
    task.write_text(
        "task: own_facts\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {json.dumps(str(data))}}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\n'
        'doc_to_choice: "{{choices}}"\n'
        'doc_to_target: "{{answer}}"\n'
        "metric_list: [{metric: acc}, {metric: acc_norm}]\n",
        encoding="utf-8",
    )
    theirs = vocabkit_json("bench", "choice", smollm2_model, "--tasks", task, "--device", "cpu")["rows"]
    assert [(row["task"], row["metric"], row["samples"]) for row in theirs] == [
        ("own_facts", "acc", 12), ("own_facts", "acc_norm", 12),
    ]  # fmt: skip
    (tmp_path / "prompt.txt").write_text("{question}", encoding="utf-8")
    ours = vocabkit_json(
        "bench", "choice", smollm2_model, "--data", data, "--prompt", tmp_path / "prompt.txt", "--score", "texts",
        "--device", "cpu",
    )["rows"]  # fmt: skip
    # Every choice is ASCII, so characters are bytes.
    assert [row["accuracy"] for row in ours] == [row["value"] for row in theirs]
    assert "has no task 'no-such-task'" in vocabkit(
        "bench", "choice", smollm2_model, "--tasks", "no-such-task", code=1
    ).stderr  # fmt: skip


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-evaluation-harness is installed")
def test_without_the_harness_it_is_said_how_to_get_it(small: Small) -> None:
    done = vocabkit("bench", "choice", small("llama"), "--tasks", "mmlu", code=1)
    assert "pip install 'vocabkit[eval]'" in done.stderr
