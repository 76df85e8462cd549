"""Models made ready: their loss is their own, and only what was chosen gets gradients."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from vocabkit.errors import CheckpointError, VocabkitError  # noqa: E402
from vocabkit.train.settings import EXPERTS, settings_for  # noqa: E402
from vocabkit.train.trainee import Trainee  # noqa: E402

SHAPE = {
    "vocab_size": 200, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
FIRST = 150
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "llama untied": {"model_type": "llama", "tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": False},
    "mistral": {},
    # Its embedding is scaled and its logits are capped.
    "gemma2": {"head_dim": 16, "final_logit_softcapping": 3.0},
    "gemma3_text": {"head_dim": 16},
    # Its logits are divided.
    "granite": {"logits_scaling": 4.0},
    "phi": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}


def model_of(name: str) -> Any:
    more = dict(KINDS[name])
    config = transformers.AutoConfig.for_model(more.pop("model_type", name.split()[0]), **SHAPE, **more)
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def batch() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, 200, (3, 17), generator=generator)
    labels = ids[:, 1:].clone()
    labels[1, 4:9] = -100
    return ids[:, :-1], labels


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_the_model_s_own_and_so_are_its_slopes(name: str) -> None:
    model = model_of(name)
    ids, labels = batch()
    logits = model(input_ids=ids).logits
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum")
    expected.backward()
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    slopes = {"rows.input": embedding.grad[FIRST:].clone(), "rows.head": head.grad[FIRST:].clone()}
    tied = head is embedding
    trainee = Trainee(model, settings_for("rows", None, {}), FIRST)
    minimised, loss = trainee(ids, labels)
    loss_alone = minimised if name != "mixtral" else loss
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert (float(minimised.detach()) > float(loss)) == (name == "mixtral"), "experts are balanced besides"
    trained = trainee.trained()
    assert set(trained) == ({"rows.input"} if tied else {"rows.input", "rows.head"})
    if name != "mixtral":
        loss_alone.backward()
        for key, parameter in trained.items():
            assert torch.allclose(parameter.grad, slopes[key], rtol=1e-4, atol=1e-6), key
    assert {n for n, p in trainee.named_parameters() if p.requires_grad} == (
        {"rows.new"} if tied else {"rows.new", "head_rows.new"}
    )


@pytest.mark.parametrize("name", ["llama", "llama untied", "qwen2", "mixtral"])
@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_adapters_begin_as_nothing_and_all_get_slopes(name: str, quantize: str) -> None:
    model = model_of(name)
    ids, labels = batch()
    targets = EXPERTS if name == "mixtral" else ("all-linear",)
    before = model(input_ids=ids).logits.detach()
    given = {"targets": targets, "quantize": quantize, "dropout": 0.0, "checkpointing": name == "llama"}
    trainee = Trainee(model, settings_for("pretrain", None, given), FIRST)
    after = trainee.model(input_ids=ids).logits.detach()
    if quantize == "none":
        assert torch.allclose(before, after, atol=1e-5)
    else:
        assert not torch.allclose(before, after, atol=1e-5)
    trainee.train()
    for adapter in trainee.adapters.values():
        torch.nn.init.normal_(adapter.b, std=0.02)
    minimised, _ = trainee(ids, labels)
    minimised.backward()
    trained = trainee.trained()
    assert len(trainee.adapters) == (2 * (4 + 1 + 3) if name == "mixtral" else 2 * 7)
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key
    frozen = [n for n, p in trainee.named_parameters() if p.grad is not None and not p.requires_grad]
    assert not frozen


@pytest.mark.filterwarnings("ignore:.*checkpointing.*:FutureWarning")  # PEFT asks in transformers' older words
def test_an_adapter_is_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    ids, _ = batch()
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    torch.manual_seed(3)
    theirs = peft.get_peft_model(model_of("llama"), config).eval()
    given = {"targets": ("q_proj", "down_proj"), "rank": 4, "alpha": 8.0}
    ours = Trainee(model_of("llama"), settings_for("pretrain", None, given), FIRST).eval()
    weights = theirs.state_dict()
    with torch.no_grad():
        for name, adapter in ours.adapters.items():
            adapter.a.copy_(weights[f"base_model.model.{name}.lora_A.default.weight"])
            adapter.b.copy_(weights[f"base_model.model.{name}.lora_B.default.weight"])
    assert torch.allclose(ours.model(input_ids=ids).logits, theirs(input_ids=ids).logits, atol=1e-5)


def test_experts_are_those_of_transformers_with_their_sums() -> None:
    """Adapters of w1, w3, w2 and the router against the same model with the sums in its weights."""
    ids, _ = batch()
    given = {"targets": EXPERTS, "rank": 4, "dropout": 0.0}
    trainee = Trainee(model_of("mixtral"), settings_for("pretrain", None, given), FIRST).eval()
    plain = model_of("mixtral")
    modules = dict(plain.named_modules())
    with torch.no_grad():
        for name, adapter in trainee.adapters.items():
            torch.nn.init.normal_(adapter.b, std=0.05)
            delta = adapter.scale * adapter.b @ adapter.a
            owner, _, last = name.rpartition(".")
            if last in ("w1", "w3"):
                modules[owner].gate_up_proj[:, slice(0, 128) if last == "w1" else slice(128, 256)] += delta
            elif last == "w2":
                modules[owner].down_proj += delta
            else:
                modules[name].weight += delta
    assert torch.allclose(trainee.model(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-4)
    theirs = plain(input_ids=ids, labels=ids, output_router_logits=True)
    ours = trainee._body(input_ids=ids, output_router_logits=True)
    for one, other in zip(ours.router_logits, theirs.router_logits, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_what_cannot_be_trained_is_one_line() -> None:
    with pytest.raises(VocabkitError, match=r"no linear layers called w1; it has down_proj, gate_proj"):
        Trainee(model_of("llama"), settings_for("pretrain", None, {"targets": ("q_proj", "w1")}), FIRST)
    with pytest.raises(CheckpointError, match="the model is tied"):
        Trainee(model_of("llama"), settings_for("rows", None, {"matrices": "input"}), FIRST)
    model = model_of("llama untied")
    model.set_output_embeddings(torch.nn.Sequential(torch.nn.Linear(64, 200)))
    with pytest.raises(CheckpointError, match="LlamaForCausalLM has a Embedding and a Sequential"):
        Trainee(model, settings_for("rows", None, {}), FIRST)


def test_a_pass_of_a_mixture_in_which_nothing_is_learned() -> None:
    given = {"targets": EXPERTS, "dropout": 0.0}
    trainee = Trainee(model_of("mixtral"), settings_for("pretrain", None, given), FIRST)
    ids, labels = batch()
    minimised, loss = trainee(ids, labels.fill_(-100))
    minimised.backward()
    assert float(loss) == float(minimised.detach()) == 0
    assert all(not parameter.grad.any() for parameter in trainee.trained().values())


def test_experts_that_compute_something_else_are_left_alone() -> None:
    models = [model_of("mixtral") for _ in range(2)]
    for layer in (layer for model in models for layer in model.model.layers):
        layer.mlp.experts._apply_gate = lambda both: both
    Trainee(models[0], settings_for("rows", None, {}), FIRST)
    with pytest.raises(VocabkitError, match="MixtralExperts compute something else"):
        Trainee(models[1], settings_for("pretrain", None, {"targets": ("w1",)}), FIRST)


def test_only_the_input_or_only_the_head() -> None:
    for matrices, name in (("input", "rows.input"), ("head", "rows.head")):
        given = {"matrices": matrices}
        trainee = Trainee(model_of("llama untied"), settings_for("rows", None, given), FIRST)
        trainee(*batch())[0].backward()
        assert list(trainee.trained()) == [name]
        assert trainee.trained()[name].grad.abs().sum() > 0
