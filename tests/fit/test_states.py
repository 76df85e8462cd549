"""States inside a model, against what transformers itself returns."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from vocabkit.fit.states import head_inputs, layers_of, reading_new_rows, states_after  # noqa: E402

TINY = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "llama": {"intermediate_size": 48, "num_key_value_heads": 2},
    "qwen2": {"intermediate_size": 48, "num_key_value_heads": 2},
    "gemma3_text": {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8},
    "gpt_neox": {"intermediate_size": 48},
    "phi": {"intermediate_size": 48},
    "gpt2": {},
}


def tiny(kind: str) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **TINY, **CONFIGS[kind])
    return transformers.AutoModelForCausalLM.from_config(config).eval()


IDS = torch.tensor([[5, 9, 80, 3], [7, 1, 2, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize("kind", CONFIGS)
def test_states_are_those_of_transformers(kind: str) -> None:
    model = tiny(kind)
    with torch.no_grad():
        whole = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
        assert len(layers_of(model)) == 3
        for layer in (1, 2):
            assert torch.equal(states_after(model, layer, IDS, MASK), whole.hidden_states[layer])
        read = head_inputs(model, IDS, MASK)
        logits = model.get_output_embeddings()(read)
    limit = getattr(model.config, "final_logit_softcapping", None)
    logits = torch.tanh(logits / limit) * limit if limit else logits
    assert torch.allclose(logits, whole.logits, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_new_rows_are_read_as_a_grown_model_reads_them(kind: str) -> None:
    model, first = tiny(kind), 80
    old = model.get_input_embeddings().weight
    rows = torch.nn.Parameter(torch.randn(16, 32))
    with reading_new_rows(model, first, rows):
        states = states_after(model, 2, IDS, MASK)
        states.square().sum().backward()
    assert rows.grad.abs().sum(1).nonzero()[:, 0].tolist() == [0]  # only 80 occurs
    with torch.no_grad():
        old[first:] = rows
        expected = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(states, expected, atol=1e-5)
    assert model.get_input_embeddings().weight is old
