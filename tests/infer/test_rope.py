"""Stretched positions are the formulas of the papers, and texts beyond the trained length can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from vocabkit.errors import VocabkitError
from vocabkit.infer.load import Opening, open_engine
from vocabkit.infer.rope import Stretch, linear, ntk, ntk_alpha, yarn
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import Scheduler

BASE, WIDTH, TRAINED = 10000.0, 64, 2048
FREQUENCIES = BASE ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)


def theirs(kind: str, factor: float) -> tuple[torch.Tensor, float]:
    parameters = {
        "rope_type": kind, "rope_theta": BASE, "factor": factor, "original_max_position_embeddings": TRAINED,
    }  # fmt: skip
    config = transformers.LlamaConfig(
        hidden_size=WIDTH * 2, num_attention_heads=2, max_position_embeddings=TRAINED, rope_parameters=parameters
    )
    frequencies, scale = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    return frequencies.double(), scale


@pytest.mark.parametrize("factor", [1.5, 4.0, 16.0])
def test_interpolation_and_yarn_are_those_of_transformers(factor: float) -> None:
    wanted, _ = theirs("linear", factor)
    torch.testing.assert_close(linear(FREQUENCIES, factor), wanted, rtol=1e-6, atol=0)
    wanted, scale = theirs("yarn", factor)
    found, ours = yarn(FREQUENCIES, BASE, factor, TRAINED)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    assert ours == pytest.approx(scale)
    assert torch.equal(found[0], FREQUENCIES[0])
    assert found[-1] == pytest.approx(float(FREQUENCIES[-1]) / factor)


def test_ntk_leaves_the_fastest_and_divides_the_slowest_by_alpha() -> None:
    found = ntk(FREQUENCIES, BASE, 8.0)
    assert found[0] == 1
    assert found[-1] == pytest.approx(float(FREQUENCIES[-1]) / 8)
    # Chinese-LLaMA-2's choice for twice its 4,096.
    assert ntk_alpha(8192, 4096) == 3
    assert ntk_alpha(1024, 4096) == 1


@pytest.mark.parametrize("rope", ["linear", "ntk", "yarn:4", "ntk:2.5"])
def test_a_stretched_model_writes_what_transformers_writes_with_the_same_frequencies(
    rope: str, small: Callable[..., Path]
) -> None:
    folder = small("llama", max_position_embeddings=64)
    engine = open_engine(folder, Opening(device="cpu", stretch=Stretch.parse(rope, 256)))
    assert engine.max_length == 256
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.model.rotary_emb.inv_freq = engine.model.model.rotary_emb.inv_freq.clone()
    model.model.rotary_emb.attention_scaling = engine.model.model.rotary_emb.attention_scaling
    prompt = [(7919 * i + 1) % 49000 for i in range(100)]
    wanted = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False, pad_token_id=0)[0].tolist()
    scheduler = Scheduler(engine)
    text = scheduler.submit(prompt, Sampling(24))
    list(scheduler.run())
    assert text.ids == wanted
    plain = open_engine(folder, Opening(device="cpu"))
    assert not torch.equal(plain.model.model.rotary_emb.inv_freq, engine.model.model.rotary_emb.inv_freq)
    with pytest.raises(VocabkitError, match="--rope yarn --context 200"):
        Scheduler(plain).submit(prompt, Sampling(24))


def test_what_cannot_be_stretched(small: Callable[..., Path]) -> None:
    scaled = small("llama", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(VocabkitError, match=r"already scaled \(linear\)"):
        open_engine(scaled, Opening(device="cpu", stretch=Stretch("yarn", 1024)))
    for rope, message in (("yarn:x", "must be a number above 0"), ("yarn:-1", "above 0"), ("ntk", "needs --context")):
        with pytest.raises(VocabkitError, match=message):
            Stretch.parse(rope, None)
