"""Bits of documents against one plain pass of transformers over each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from vocabkit.measure.inits import Candidate, measure_inits
from vocabkit.model.load import load_model
from vocabkit.model.scores import document_bits, log_z_shift
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken
from vocabkit.tokenizer.start import start_id

ENGLISH = ["The committee met on Tuesday.", "Its report runs to 48 pages and was published a week later."]
CHINESE = ["自由软件基金会成立于一九八五年。", "软件"]


@pytest.fixture(scope="module")
def model(smollm2_model: Path) -> Any:
    return load_model(smollm2_model, device="cpu")


def plain_bits(model: Any, ids: list[int]) -> float:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return -float(logits[range(len(ids) - 1), ids[1:]].sum()) / math.log(2)


def test_bits_are_those_of_one_plain_pass(model: Any, smollm2_model: Path) -> None:
    tokenizer = open_tokenizer(smollm2_model)
    start = start_id(tokenizer)
    assert start == tokenizer.id_table["<|endoftext|>"]
    documents = tokenizer.encode([*ENGLISH, *CHINESE])
    expected = [plain_bits(model, [start, *ids]) for ids in documents]
    assert document_bits(model, documents, start) == pytest.approx(expected, rel=1e-4)


def test_a_long_document_is_scored_once_in_windows_that_overlap_by_half(model: Any, smollm2_model: Path) -> None:
    ids = open_tokenizer(smollm2_model).encode([" ".join(ENGLISH)])[0][:19]
    sequence = [0, *ids]
    # Windows of 8 from 20 ids: 7 tokens scored in the first, 4 in each after it.
    expected = plain_bits(model, sequence[:8])
    for done in range(8, 20, 4):
        window = sequence[done - 4 : done + 4]
        expected += plain_bits(model, window) - plain_bits(model, window[:4])
    assert document_bits(model, [ids], 0, context=8) == pytest.approx([expected], rel=1e-4)


def test_the_shift_of_log_z_is_what_the_ids_beyond_take(model: Any, smollm2_model: Path) -> None:
    import torch

    ids = open_tokenizer(smollm2_model).encode(ENGLISH[:1])
    with torch.no_grad():
        logits = model(torch.tensor([[0, *ids[0]]])).logits[0].double()
    shift = logits.logsumexp(-1) - logits[:, :40_000].logsumexp(-1)
    assert log_z_shift(model, ids, 0, 40_000) == pytest.approx((float(shift.mean()), float(shift.max())), rel=1e-3)


def test_initialisers_are_compared_on_the_extended_model_itself(smollm2_model: Path) -> None:
    import numpy as np

    base = open_tokenizer(smollm2_model)
    # 软件 is two tokens of SmolLM2 or more; one new token joins the last two of them.
    pieces = base.encode_bare(["软件".encode()])[0]
    parts = tuple(base.token_bytes(i) or b"" for i in pieces)
    steps = [NewToken(b"".join(parts[: n + 1]), (b"".join(parts[:n]), parts[n]), 1) for n in range(1, len(parts))]
    tokenizer = base.extended(steps)
    model = load_model(smollm2_model, device="cpu")
    old = model.get_input_embeddings().weight.detach().numpy().copy()
    rows = np.stack([old[pieces[: n + 1]].mean(0) for n in range(1, len(parts))])
    candidates = [Candidate("mean of pieces", {"input": rows}, 0), Candidate("zeros", {"input": rows * 0}, 0)]
    texts = [("zh", CHINESE), ("en", ENGLISH)]
    scores = {score.initializer: score for score in measure_inits(model, base, tokenizer, texts, candidates)}
    size = len("".join(CHINESE).encode())
    before = load_model(smollm2_model, device="cpu")
    plain = sum(plain_bits(before, [0, *ids]) for ids in base.encode(CHINESE)) / size
    assert scores["unextended"].bits_per_byte["zh"] == pytest.approx(plain, rel=1e-4)
    assert scores["mean of pieces"].bits_per_byte["zh"] < scores["zeros"].bits_per_byte["zh"]
    assert scores["mean of pieces"].bits_per_byte["en"] == pytest.approx(
        scores["unextended"].bits_per_byte["en"], abs=1e-3
    )
    assert scores["zeros"].norm == 0
