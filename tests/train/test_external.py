"""Configurations for other trainers hold the numbers of the settings."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.model.chat import TEMPLATES
from vocabkit.train.external import TRAINERS, config_for
from vocabkit.train.settings import ATTENTION, EXPERTS, LINEAR, STAGES, settings_for

yaml = pytest.importorskip("yaml")

EXTENDED = {"base": {"size": 900}, "files": {}}
NEW = list(range(900, 1000))
YAML = ("llama-factory", "axolotl")
# Options of SFTConfig that transformers' TrainingArguments do not have.
TRL_ALONE = {"max_length", "packing", "packing_strategy", "completion_only_loss", "loss_type", "router_aux_loss_coef"}

Printed = Callable[..., str]


@pytest.fixture
def printed(tmp_path: Path) -> Printed:
    """Return what prints a configuration for a model of 900 rows and 100 new ones.

    config, manifest: what its files say; manifest None for a model that was not extended.
    """

    def run(
        trainer: str,
        stage: str = "pretrain",
        given: dict[str, Any] | None = None,
        data: dict[str, list[str]] | None = None,
        output: Path | None = Path("out"),
        config: dict[str, Any] | None = None,
        manifest: dict[str, Any] | None = EXTENDED,
    ) -> str:
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "llama", "vocab_size": 1000, **(config or {})})
        )
        if manifest:
            (tmp_path / "vocabkit.json").write_text(json.dumps(manifest))
        settings = settings_for(stage, None, given or {})
        return config_for(trainer, tmp_path, settings, data or {"zh": ["zh.jsonl"]}, output)

    return run


def options(trainer: str, text: str) -> dict[str, Any]:
    """Return what a configuration says: YAML's keys, or the keyword arguments of all calls of a script."""
    if trainer in YAML:
        return yaml.safe_load(text)  # type: ignore[no-any-return]
    return {name: value for called in calls(text).values() for name, value in called.items()}


def calls(script: str) -> dict[str, dict[str, Any]]:
    """Return name of what a script calls -> its keyword arguments, as values where they are plain, else as code."""
    compile(script, "printed.py", "exec")
    found: dict[str, dict[str, Any]] = {}
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.Call):
            arguments = {keyword.arg: value_of(keyword.value) for keyword in node.keywords if keyword.arg}
            found.setdefault(ast.unparse(node.func).rpartition(".")[2], {}).update(arguments)
    return found


def value_of(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_stage_holds_its_numbers(trainer: str, stage: str, printed: Printed) -> None:
    found = options(trainer, printed(trainer, stage))
    rate = {"rows": 1e-3, "pretrain": 2e-4, "instruct": 1e-4}[stage]
    rank = {"rows": None, "pretrain": 8, "instruct": 64}[stage]
    targets = None if stage == "rows" else list(LINEAR)
    assert found["learning_rate"] == rate
    assert found["gradient_accumulation_steps"] == 8
    assert found["output_dir"] == "out"
    assert found["optimizer" if trainer == "axolotl" else "optim"] == "adamw_torch"
    if trainer == "llama-factory":
        assert found["do_train"] is True
        assert found["stage"] == ("sft" if stage == "instruct" else "pt")
        assert found["finetuning_type"] == ("freeze" if stage == "rows" else "lora")
        assert (found.get("lora_rank"), found["cutoff_len"]) == (rank, 512)
        assert found.get("lora_target") == (targets and ",".join(targets))
        assert found.get("train_on_prompt") is (False if stage == "instruct" else None)
        assert found["warmup_ratio"] == (0.03 if stage == "instruct" else 0.05)
    elif trainer == "axolotl":
        kind = found["datasets"][0]["type"]
        assert kind == "completion" if stage != "instruct" else "format" in kind
        assert (found.get("lora_r"), found.get("lora_target_modules"), found["sequence_len"]) == (rank, targets, 512)
        assert found["sample_packing"] is (stage != "instruct")
        assert found.get("train_on_inputs") is (False if stage == "instruct" else None)
        assert found["warmup_ratio"] == (0.03 if stage == "instruct" else 0.05)
    else:
        assert (found.get("r"), found["max_length"]) == (rank, 512)
        assert found["target_modules"] == (targets or ["embed_tokens", "lm_head"])
        assert found.get("packing") is (None if stage == "instruct" else True)
        assert found.get("completion_only_loss") is (True if stage == "instruct" else None)
        assert found["warmup_steps"] == (0.03 if stage == "instruct" else 0.05)


# What is given -> the option of LLaMA-Factory, axolotl and TRL that must follow, and its value.
FOLLOWS: list[tuple[dict[str, Any], tuple[str, str, str], Any]] = [
    ({"block_size": 1024}, ("cutoff_len", "sequence_len", "max_length"), 1024),
    ({"micro_batch": 2}, ("per_device_train_batch_size", "micro_batch_size", "per_device_train_batch_size"), 2),
    # 5 does not divide 32; 4 does.
    ({"micro_batch": 5}, ("per_device_train_batch_size", "micro_batch_size", "per_device_train_batch_size"), 4),
    ({"batch_size": 48}, ("gradient_accumulation_steps",) * 3, 12),
    ({"learning_rate": 1e-5}, ("learning_rate",) * 3, 1e-5),
    ({"schedule": "constant"}, ("lr_scheduler_type", "lr_scheduler", "lr_scheduler_type"), "constant_with_warmup"),
    ({"schedule": "linear"}, ("lr_scheduler_type", "lr_scheduler", "lr_scheduler_type"), "linear"),
    ({"warmup": 0.2}, ("warmup_ratio", "warmup_ratio", "warmup_steps"), 0.2),
    ({"warmup": 0.2, "steps": 300}, ("warmup_steps",) * 3, 60),
    ({"steps": 300}, ("max_steps",) * 3, 300),
    ({"epochs": 2.5}, ("num_train_epochs", "num_epochs", "num_train_epochs"), 2.5),
    ({"weight_decay": 0.1}, ("weight_decay",) * 3, 0.1),
    ({"clip": 0.0}, ("max_grad_norm",) * 3, 0.0),
    ({"beta1": 0.8}, ("adam_beta1",) * 3, 0.8),
    ({"beta2": 0.95}, ("adam_beta2",) * 3, 0.95),
    ({"epsilon": 1e-6}, ("adam_epsilon",) * 3, 1e-6),
    ({"seed": 7}, ("seed",) * 3, 7),
    ({"dtype": "bfloat16"}, ("bf16",) * 3, True),
    ({"rank": 16}, ("lora_rank", "lora_r", "r"), 16),
    ({"alpha": 48.0}, ("lora_alpha",) * 3, 48),
    ({"dropout": 0.25}, ("lora_dropout",) * 3, 0.25),
    ({"quantize": "nf4"}, ("quantization_bit", "load_in_4bit", "load_in_4bit"), {"llama-factory": 4}),
    ({"checkpointing": True}, ("use_reentrant_gc", "gradient_checkpointing", "gradient_checkpointing"),
     {"llama-factory": False}),
    ({"compile": True}, ("torch_compile",) * 3, True),
    ({"targets": ATTENTION}, ("lora_target", "lora_target_modules", "target_modules"),
     {"llama-factory": ",".join(ATTENTION), "axolotl": list(ATTENTION), "trl": list(ATTENTION)}),
    ({"targets": ("all-linear",)}, ("lora_target", "lora_target_linear", "target_modules"),
     {"llama-factory": "all", "trl": "all-linear"}),
]  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(("given", "names", "value"), FOLLOWS, ids=["-".join(given) for given, _, _ in FOLLOWS])
def test_an_option_follows_its_setting(
    trainer: str, given: dict[str, Any], names: tuple[str, str, str], value: Any, printed: Printed
) -> None:
    name = names[list(TRAINERS).index(trainer)]
    wanted = value.get(trainer, True) if isinstance(value, dict) else value
    found = options(trainer, printed(trainer, given=given))[name]
    assert (found, type(found)) == (wanted, type(wanted))


def test_gradient_checkpointing_is_off_where_trainers_have_it_on(printed: Printed) -> None:
    for asked in (True, False):
        given = {"checkpointing": asked}
        found = options("llama-factory", printed("llama-factory", given=given))
        assert found["disable_gradient_checkpointing"] is not asked
        config = calls(printed("trl", given=given))["SFTConfig"]
        assert config["gradient_checkpointing"] is asked
        kwargs = [options("axolotl", printed("axolotl", given=given)), config]
        wanted = {"use_reentrant": False} if asked else None
        assert [one.get("gradient_checkpointing_kwargs") for one in kwargs] == [wanted, wanted]


def test_rows_have_a_rate_of_their_own_where_a_trainer_has_one(printed: Printed) -> None:
    given = {"learning_rate": 1e-5, "rows_learning_rate": 3e-5}
    assert options("axolotl", printed("axolotl", given=given))["embedding_lr"] == 3e-5
    script = printed("trl", given=given)
    assert "'lora_' in name], 'lr': 1e-05}" in script
    assert "'lora_' not in name], 'lr': 3e-05}" in script
    assert calls(script)["SFTTrainer"]["optimizers"] == "(optimizer, None)"
    assert "not with 3e-05" in printed("llama-factory", given=given)
    assert "optimizers" not in calls(printed("trl"))["SFTTrainer"]
    for trainer in TRAINERS:
        found = options(trainer, printed(trainer, "rows", {"rows_learning_rate": 3e-5}))
        assert found["learning_rate"] == 3e-5


def test_new_rows_alone_train_where_a_trainer_can(printed: Printed) -> None:
    rows = options("axolotl", printed("axolotl", "rows"))
    assert rows["unfrozen_parameters"] == ["^model.embed_tokens.weight$[900:1000]", "^lm_head.weight$[900:1000]"]
    assert "adapter" not in rows
    beside = options("axolotl", printed("axolotl"))
    assert beside["peft_trainable_token_indices"] == {"embed_tokens": NEW, "lm_head": NEW}
    assert printed("axolotl").count("900, 901") == 1
    for stage, option in (("rows", "token_indices"), ("pretrain", "trainable_token_indices")):
        script = printed("trl", stage)
        assert "NEW_ROWS = list(range(900, 1000))" in script
        assert "NEW_ROWS" in str(options("trl", script)[option])
    whole = printed("llama-factory", "rows")
    assert "has no option for some rows" in whole
    found = options("llama-factory", whole)
    assert (found["freeze_trainable_layers"], found["freeze_extra_modules"]) == (0, "embed_tokens,lm_head")
    assert options("llama-factory", printed("llama-factory"))["additional_target"] == "embed_tokens,lm_head"


def test_all_rows_or_none_train(printed: Printed) -> None:
    every = {"rows": "all"}
    assert options("axolotl", printed("axolotl", "rows", every))["unfrozen_parameters"] == [
        "^model.embed_tokens.weight$", "^lm_head.weight$",
    ]  # fmt: skip
    assert options("axolotl", printed("axolotl", given=every))["lora_modules_to_save"] == ["embed_tokens", "lm_head"]
    assert calls(printed("trl", given=every))["LoraConfig"]["modules_to_save"] == ["embed_tokens", "lm_head"]
    script = printed("trl", "rows", every)
    assert "get_peft_model" not in script
    assert "model.get_output_embeddings().requires_grad_(True)" in script
    none = {trainer: printed(trainer, given={"rows": "none"}) for trainer in TRAINERS}
    assert "additional_target" not in none["llama-factory"]
    assert not {"embedding_lr", "peft_trainable_token_indices"} & set(options("axolotl", none["axolotl"]))
    assert not {"modules_to_save", "trainable_token_indices"} & set(calls(none["trl"])["LoraConfig"])


def test_one_matrix_trains_alone(printed: Printed) -> None:
    given = {"matrices": "head"}
    assert options("axolotl", printed("axolotl", given=given))["peft_trainable_token_indices"] == {"lm_head": NEW}
    assert options("llama-factory", printed("llama-factory", "rows", given))["freeze_extra_modules"] == "lm_head"
    assert calls(printed("trl", "rows", given))["TrainableTokensConfig"]["target_modules"] == ["lm_head"]
    assert "get_input_embeddings" not in printed("trl", "rows", {**given, "rows": "all"})


def test_a_tied_matrix_is_named_once(printed: Printed) -> None:
    tied = {"tie_word_embeddings": True}
    assert options("axolotl", printed("axolotl", config=tied))["peft_trainable_token_indices"] == {
        "embed_tokens": NEW
    }
    assert options("axolotl", printed("axolotl", given={"rows": "all"}, config=tied))["peft_ensure_weight_tying"]
    assert calls(printed("trl", given={"rows": "all"}, config=tied))["LoraConfig"]["ensure_weight_tying"]
    text = printed("llama-factory", config=tied)
    assert options("llama-factory", text)["additional_target"] == "embed_tokens"
    assert "The model is tied" in text
    with pytest.raises(VocabkitError, match="--matrices head"):
        printed("trl", given={"matrices": "head"}, config=tied)


def test_names_of_matrices_are_those_of_the_weights(tmp_path: Path, printed: Printed) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    rows = np.zeros((1000, 4), np.float32)
    save_file({"gpt_neox.embed_in.weight": rows, "embed_out.weight": rows + 1}, tmp_path / "model.safetensors")
    assert options("axolotl", printed("axolotl", "rows"))["unfrozen_parameters"] == [
        "^gpt_neox.embed_in.weight$[900:1000]", "^embed_out.weight$[900:1000]",
    ]  # fmt: skip
    assert options("llama-factory", printed("llama-factory"))["additional_target"] == "embed_in,embed_out"


def test_four_bits_are_left_out_with_a_word_where_they_cannot_be(printed: Printed) -> None:
    given = {"quantize": "nf4", "dtype": "bfloat16"}
    for trainer in YAML:
        text = printed(trainer, "rows", given)
        assert "Not in 4 bits" in text
        assert not {"quantization_bit", "load_in_4bit"} & set(options(trainer, text))
    assert options("axolotl", printed("axolotl", given=given))["adapter"] == "qlora"
    bits = calls(printed("trl", "rows", given))["BitsAndBytesConfig"]
    assert (bits["bnb_4bit_quant_type"], bits["bnb_4bit_compute_dtype"]) == ("nf4", "torch.bfloat16")
    assert "Not in 4 bits" in printed("trl", "rows", {**given, "rows": "all"})


def test_the_checkpoints_own_dtype_is_named(printed: Printed) -> None:
    own = {"dtype": "bfloat16"}
    assert options("axolotl", printed("axolotl", config=own))["bf16"] is True
    assert options("axolotl", printed("axolotl"))["float32"] is True
    assert calls(printed("trl", config={"torch_dtype": "float16"}))["from_pretrained"]["dtype"] == "torch.bfloat16"
    assert calls(printed("trl", config=own))["SFTConfig"]["bf16"] is True


def test_a_mixture_balances_its_experts(printed: Printed) -> None:
    config, given = {"num_local_experts": 8}, {"targets": EXPERTS}
    texts = {trainer: printed(trainer, given=given, config=config) for trainer in TRAINERS}
    assert options("llama-factory", texts["llama-factory"])["moe_aux_loss_coef"] == 0.02
    assert options("axolotl", texts["axolotl"])["overrides_of_model_config"]["router_aux_loss_coef"] == 0.02
    assert calls(texts["trl"])["SFTConfig"]["router_aux_loss_coef"] == 0.02
    for trainer, text in texts.items():
        assert "Adapters of experts" in text
        assert "router_aux_loss_coef" not in printed(trainer)


def test_texts_are_listed_by_their_format(tmp_path: Path, printed: Printed) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.parquet"):
        (folder / name).touch()
    data = {"zh": [str(folder)], "en": ["en.txt.gz"]}
    paths = [str(folder / name) for name in ("a.txt", "b.txt", "c.parquet")]
    found = options("axolotl", printed("axolotl", data=data))["datasets"]
    assert [(one["path"], one["ds_type"]) for one in found] == [
        (paths[0], "text"), (paths[1], "text"), (paths[2], "parquet"), ("en.txt.gz", "text"),
    ]  # fmt: skip
    text = printed("llama-factory", data=data)
    info = dataset_info(text)
    assert options("llama-factory", text)["dataset"].split(",") == list(info)
    assert [one["file_name"] for one in info.values()] == [*paths, "en.txt.gz"]
    assert "write en.txt.gz as one of them" in text
    script = printed("trl", data=data)
    assert f"load_dataset('text', data_files={paths[:2]!r}, split='train')" in script
    assert "shares of --mix" in script


def dataset_info(text: str) -> dict[str, Any]:
    """Return the dataset_info.json that a configuration holds in its comments."""
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    return json.loads("\n".join(lines[lines.index("{") :]))  # type: ignore[no-any-return]


RECORDS: dict[str, dict[str, Any]] = {
    "instruction": {"instruction": "a", "output": "b"},
    "messages": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "conversations": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
}


@pytest.mark.parametrize("template", [*TEMPLATES, "chat"])
@pytest.mark.parametrize("kind", RECORDS)
def test_instructions_are_read_as_they_lie(kind: str, template: str, tmp_path: Path, printed: Printed) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps(RECORDS[kind]) + "\n")
    more: dict[str, Any] = {
        "stage": "instruct", "given": {"template": template}, "data": {"t": [str(tmp_path / "data.jsonl")]}
    }  # fmt: skip
    text = printed("llama-factory", **more)
    how = dataset_info(text)["t"]
    assert how["columns"] == (
        {"prompt": "instruction", "response": "output"} if kind == "instruction" else {"messages": kind}
    )
    assert ("tags" in how) == (kind == "messages")
    named = {"alpaca": "alpaca", "alpaca-2": "llama2_zh", "mixtral": "llama2"}
    assert options("llama-factory", text).get("template") == named.get(template)
    text = printed("axolotl", **more)
    (dataset,) = options("axolotl", text)["datasets"]
    if kind == "instruction" and template != "chat":
        assert dataset["type"]["no_input_format"] == TEMPLATES[template]
        assert "{instruction}\n{input}" in dataset["type"]["format"]
    else:
        assert dataset["type"] == "chat_template"
        assert dataset.get("field_messages") == (None if kind == "instruction" else kind)
        assert ("message_property_mappings" in dataset) == (kind == "conversations")
        assert ("needs a chat template" in text) == (template != "chat")
    made = example_of(printed("trl", **more), RECORDS[kind])
    if template == "chat":
        assert made == {
            "prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]
        }  # fmt: skip
    else:
        prompt = TEMPLATES[template].replace("{instruction}", "a")
        assert made["input_ids"] == ["<s>", *prompt, "b", "</s>"]
        assert made["completion_mask"] == [0] * (1 + len(prompt)) + [1, 1]


def example_of(script: str, record: dict[str, Any]) -> Any:
    """Run a script's own functions on a record, with a tokenizer of which every letter is an id."""

    class Letters:
        bos_token_id, eos_token_id = "<s>", "</s>"

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[str]]:
            return {"input_ids": [*(["<s>"] if add_special_tokens else []), *text]}

    tree = ast.parse(script)
    names = {"PROMPT", "ROLES", "(BOS, EOS)"}
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in names)
    ]
    scope: dict[str, Any] = {"tokenizer": Letters()}
    exec(compile(tree, "printed.py", "exec"), scope)
    return scope["example"](record)


def test_an_own_chat_template_is_found(tmp_path: Path, printed: Printed) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (dataset,) = options("axolotl", printed("axolotl", "instruct"))["datasets"]
    assert dataset["chat_template"] == "tokenizer_default"
    assert "template" not in options("llama-factory", printed("llama-factory", "instruct"))


def test_bos_and_eos_that_cannot_be_left_out_are_named(printed: Printed) -> None:
    for trainer in TRAINERS:
        assert "no option for --no-bos and --no-eos" in printed(trainer, given={"bos": False, "eos": False})
        assert "--no-bos" not in printed(trainer)
    assert "BOS, EOS = None, None" in printed("trl", "instruct", {"bos": False, "eos": False})


def test_options_of_the_script_are_those_of_transformers_and_peft(printed: Printed) -> None:
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    known = {field.name for field in dataclasses.fields(transformers.TrainingArguments)} | TRL_ALONE
    for stage in STAGES:
        for rows in ("new", "all"):
            found = calls(printed("trl", stage, {"rows": rows, "compile": True, "checkpointing": True}))
            assert set(found["SFTConfig"]) <= known
            for name in ("LoraConfig", "TrainableTokensConfig"):
                assert set(found.get(name, {})) <= {field.name for field in dataclasses.fields(getattr(peft, name))}


def test_without_an_output_the_folder_is_named_after_the_run(tmp_path: Path, printed: Printed) -> None:
    for trainer in TRAINERS:
        assert options(trainer, printed(trainer, "rows", output=None))["output_dir"] == f"{tmp_path.name}-rows"


def test_the_model_is_named(tmp_path: Path, printed: Printed) -> None:
    assert options("llama-factory", printed("llama-factory"))["model_name_or_path"] == str(tmp_path)
    assert options("axolotl", printed("axolotl"))["base_model"] == str(tmp_path)
    assert f"MODEL = {str(tmp_path)!r}" in printed("trl")


def test_what_cannot_be_is_one_line(printed: Printed) -> None:
    with pytest.raises(UnknownNameError, match="unknown trainer 'axolot'; did you mean 'axolotl'"):
        printed("axolot")
    with pytest.raises(UnknownNameError, match="unknown template 'alpaka'"):
        printed("trl", "instruct", {"template": "alpaka"})
    with pytest.raises(VocabkitError, match="new rows begin at 1,000"):
        printed("trl", manifest={"base": {"size": 1000}, "files": {}})


def test_a_model_that_was_not_extended_has_no_new_rows(printed: Printed) -> None:
    with pytest.raises(VocabkitError, match="has no new rows"):
        printed("trl", manifest=None)
    assert "modules_to_save" in printed("trl", given={"rows": "all"}, manifest=None)
