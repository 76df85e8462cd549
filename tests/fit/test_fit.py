"""distill and headfit on the real model: they must help on text that they did not read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vocabkit.errors import VocabkitError
from vocabkit.fit.windows import Batch, batches, choose_windows
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.rows.initializers import copy, subword_mean
from vocabkit.rows.request import RowRequest
from vocabkit.tokenizer import open_tokenizer
from vocabkit.tokenizer.base import NewToken, Tokenizer
from vocabkit.vocabulary.requests import Requests, RowOptions

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vocabkit.fit.distill import distill, state_distance  # noqa: E402
from vocabkit.fit.headfit import Places, headfit, loss_of, read_places  # noqa: E402
from vocabkit.fit.shift import HEAD_BATCHES, shift, shifted, unnoticed, windows_of  # noqa: E402
from vocabkit.fit.states import head_moment  # noqa: E402
from vocabkit.model.load import load_model  # noqa: E402

WORDS = ("软件", "自由", "基金会", "项目", "许可证", "使用")
NOWHERE = "龍門"
TEXT = [
    f"{start}{middle}{end}"
    for start in ("自由软件", "这个项目", "许可证", "基金会", "我们使用的软件", "使用者", "所有的项目", "它")
    for middle in ("是", "使用", "不是", "需要", "没有", "就是")
    for end in (
        "自由的。",
        "一个项目。",
        "基金会的软件。",
        "许可证。",
        "自由软件。",
        "大的基金会。",
        "软件项目，不使用它。",
    )
]
HELD_OUT = ["自由软件基金会使用这个许可证。", "项目需要自由。", "软件项目是自由的许可证。"]


@dataclass(frozen=True)
class Setup:
    request: RowRequest
    tokenizer: Tokenizer
    model: Any

    def asked(self, *, role: str = "input", tied: bool = True, **options: str) -> RowRequest:
        return dataclasses.replace(self.request, role=role, tied=tied, options=options)

    def held_out(self) -> list[Batch]:
        first = self.request.old.shape[0]
        windows = choose_windows(self.tokenizer.encode(HELD_OUT), first, 10**6)
        return list(batches(windows, self.request.pieces, first, self.request.sources.start, tokens=512))

    def distance(self, rows: NDArray[np.float32], layer: int) -> float:
        """Return the mean 1 - cos on HELD_OUT."""
        first, new = self.request.old.shape[0], torch.from_numpy(rows)
        with torch.no_grad():
            found = [float(state_distance(self.model, batch, new, first, layer)) for batch in self.held_out()]
        return sum(found) / len(found)

    def place(self, text: str) -> int:
        return self.request.tokens.index(text.encode())


@pytest.fixture(scope="module")
def setup(smollm2_model: Path) -> Setup:
    """Return SmolLM2 with seven new words, each merged from left to right, and the tokens on the way."""
    base = open_tokenizer(smollm2_model)
    added: dict[bytes, NewToken] = {}
    for word in (*WORDS, NOWHERE):
        pieces = [base.token_bytes(i) or b"" for i in base.encode_bare([word.encode()])[0]]
        for count in range(2, len(pieces) + 1):
            left, right = b"".join(pieces[: count - 1]), pieces[count - 1]
            if base.find(left + right) is None:
                added.setdefault(left + right, NewToken(left + right, (left, right), 1))
    new = list(added.values())
    tokenizer = base.extended(new)
    model = load_model(smollm2_model, device="cpu")
    how = RowOptions(subword_mean, "subword-mean", lines=lambda size: TEXT, model=lambda: model)
    ((_, _, request),) = Requests(open_checkpoint(smollm2_model), base, tokenizer, new).of(how)
    assert request.tied
    return Setup(request, tokenizer, model)


def test_distill_brings_the_states_closer_on_text_it_did_not_read(setup: Setup) -> None:
    made = distill(setup.asked(tokens="5000", layer="5"))
    before, after = (setup.distance(rows, 5) for rows in (subword_mean(setup.request), made))
    assert after < 0.85 * before
    untouched = setup.place(NOWHERE)
    cut = windows_of(setup.asked(), 5000, "distill")
    begun = shifted(setup.asked(), head_moment(setup.model, cut[:HEAD_BATCHES]))
    assert np.allclose(made[untouched], begun[untouched], atol=1e-6)
    assert not np.allclose(made[setup.place("软件")], subword_mean(setup.request)[setup.place("软件")], atol=1e-2)


def test_distill_holds_a_tied_row_where_the_head_would_notice(setup: Setup) -> None:
    start = copy(setup.request)
    places = read_places(setup.model, setup.request, setup.held_out())
    moved = []
    for hold in ("0", "50"):
        made = distill(setup.asked(tokens="1000", hold=hold))
        moved.append(float((places.states @ torch.from_numpy(made - start).T).square().mean()))
    assert moved[1] < 0.5 * moved[0]


def test_the_same_request_gives_the_same_rows(setup: Setup) -> None:
    first, second = (distill(setup.asked(tokens="300", layer="2")) for _ in range(2))
    assert np.array_equal(first, second)


def test_headfit_lowers_the_loss_on_text_it_did_not_read(setup: Setup) -> None:
    start = copy(setup.request)
    made = headfit(setup.asked(role="head", tied=False, tokens="2500"))
    places = read_places(setup.model, setup.request, setup.held_out())
    before, after = (loss_of(setup.model, places, torch.from_numpy(rows)) for rows in (start, made))
    assert after < before - 0.1
    blended = headfit(setup.asked(tokens="2500", blend="0.5"))
    assert np.allclose(blended, (start + made) / 2, atol=1e-4)
    assert np.array_equal(headfit(setup.asked(tied=False, tokens="2500")), start)


def test_the_gradient_of_headfit_is_the_slope_of_its_loss(setup: Setup) -> None:
    from vocabkit.fit.headfit import Cap, loss_and_gradient

    generator = torch.Generator().manual_seed(0)
    states = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    log_z = torch.randn(40, generator=generator, dtype=torch.float64)
    places = Places(states, log_z, torch.arange(40) % 5 - 1)
    prior = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    rows = (prior + 0.1).requires_grad_()
    moment = states.T @ states / 40
    for limit in (None, 3.0):
        cap = Cap(limit)
        logits = cap(states @ rows.T)
        both = torch.logaddexp(logits.logsumexp(-1), log_z)
        new = (places.token >= 0).nonzero()[:, 0]
        moved = rows - prior
        expected = both.sum() - logits[new, places.token[new]].sum() + 5 * ((moved @ moment) * moved).sum()
        (slope,) = torch.autograd.grad(expected, rows)
        expected = float(expected.detach())
        loss, gradient, count = loss_and_gradient(places, rows.detach(), prior, moment, 10.0, cap)
        assert loss == pytest.approx(expected, rel=1e-9)
        assert torch.allclose(gradient, slope)
        assert ((count > 0) & (count < 40)).all()


def test_shift_moves_what_is_no_copy_by_one_vector_that_the_head_hardly_notices(setup: Setup) -> None:
    start, made = copy(setup.request), shift(setup.asked())
    moved = np.any(made != start, axis=1)
    assert all(moved[setup.place(text)] for text in (*WORDS, NOWHERE))
    offsets = (made - start)[moved]
    assert np.allclose(offsets, offsets[0], atol=1e-6)
    assert np.linalg.norm(offsets[0]) > 0.1
    plain = shift(setup.asked(tied=False)) - start
    assert np.allclose(plain[moved], (start[moved].mean(0) - setup.request.old.mean), atol=1e-6)
    states = read_places(setup.model, setup.request, setup.held_out()).states.numpy()
    logits = [float(np.square(states @ offset).mean()) for offset in (offsets[0], plain[moved][0])]
    assert logits[0] < 0.1 * logits[1]
    partial = [b"\xef\xbf\xbd" in token.decode(errors="replace").encode() for token in setup.request.tokens]
    assert np.array_equal(made[partial], start[partial])
    assert np.array_equal(shift(setup.asked(role="head", tied=False)), start)


def test_the_shift_minimises_what_it_says() -> None:
    generator = np.random.default_rng(0)
    states = generator.standard_normal((200, 8)) * np.arange(1, 9)
    moment, offset = states.T @ states / 200, generator.standard_normal(8).astype(np.float32)

    def objective(x: NDArray[np.float64]) -> float:
        return float(np.square(x - offset).sum() / np.square(offset).sum() + x @ moment @ x)

    found = unnoticed(offset, torch.from_numpy(moment)).astype(np.float64)
    tries = found + 0.05 * generator.standard_normal((500, 8))
    assert objective(found) <= min(objective(x) for x in tries)


@pytest.mark.parametrize("make", [distill, headfit])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": "3"}, "no option 'depth'"),
        ({"tokens": "many"}, "tokens=many is no whole number"),
        ({"tokens": "-1"}, "from 0 on"),
    ],
)
def test_bad_options_are_one_line(setup: Setup, make: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(VocabkitError, match=message) as caught:
        make(setup.asked(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [distill, headfit, shift])
def test_text_is_needed_and_must_hold_new_tokens(setup: Setup, make: Any) -> None:
    without = dataclasses.replace(setup.request.sources, documents=None)
    with pytest.raises(VocabkitError, match="--init-corpus"):
        make(dataclasses.replace(setup.asked(), sources=without))
    english = dataclasses.replace(setup.request.sources, documents=lambda size: iter([[1, 2, 3]]))
    with pytest.raises(VocabkitError, match="none of the new tokens"):
        make(dataclasses.replace(setup.asked(), sources=english))
    with pytest.raises(VocabkitError, match="has 30 layers"):
        distill(setup.asked(layer="31"))
