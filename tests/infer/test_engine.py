"""Greedy text is that of transformers, token for token, however many texts are written at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from runs import vocabkit, vocabkit_json

from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.load import Opening, open_engine
from vocabkit.infer.prompts import Prompts
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import PROMPT_TOKENS, Scheduler
from vocabkit.infer.speculative import Speculator
from vocabkit.model.load import load_model
from vocabkit.tokenizer import open_tokenizer

Small = Callable[..., Path]
CPU = Opening(device="cpu")
PROMPTS = [
    "The capital of France is", "人工智能是计算机科学", "def fibonacci(n):\n    ", "A",
    "Once upon a time, in a village", "🙂 emoji and བོད་ཡིག ",
]  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {}, "mistral": {"sliding_window": None}, "qwen2": {}, "qwen3": {"head_dim": 16},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
}  # fmt: skip


def ids_of(folder: Path, texts: list[str]) -> list[list[int]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text)["input_ids"] for text in texts]


def theirs(folder: Path, prompts: list[list[int]], count: int) -> list[list[int]]:
    """What transformers' own generate writes after each prompt, alone."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for ids in prompts:
        made = model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False, pad_token_id=0)
        found.append(made[0, len(ids) :].tolist())
    return found


def written(engine: Engine, prompts: list[list[int]], sampling: Sampling, max_batch: int) -> list[list[int]]:
    scheduler = Scheduler(engine, max_batch=max_batch)
    texts = [scheduler.submit(ids, sampling, number=i) for i, ids in enumerate(prompts)]
    for _ in scheduler.run():
        pass
    return [one.ids[len(one.prompt) :] for one in texts]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_writes_what_transformers_writes(kind: str, small: Small) -> None:
    folder = small(kind, **FAMILIES[kind])
    long = "A long prompt that is read in several parts. " * 30
    prompts = ids_of(folder, [*PROMPTS, long[:700]])
    expected = theirs(folder, prompts, 20)
    engine = open_engine(folder, CPU)
    for max_batch in (1, 3, 16):
        assert written(engine, prompts, Sampling(20), max_batch) == expected


def test_a_sliding_window_is_kept(small: Small) -> None:
    folder = small("mistral", sliding_window=16)
    prompts = ids_of(folder, [*PROMPTS, "One two three four five six seven eight nine ten. " * 4])
    expected = theirs(folder, prompts, 24)
    assert expected != theirs(small("mistral", sliding_window=None), prompts, 24)
    engine = open_engine(folder, CPU)
    for max_batch in (1, 4):
        assert written(engine, prompts, Sampling(24), max_batch) == expected


@pytest.mark.parametrize("kind", ["llama", "mistral", "mixtral"])
def test_tensors_that_stay_where_they_are_change_nothing(kind: str, small: Small) -> None:
    """What a GPU records runs step by step here: rows without a text, keys beyond the text, a cache that grows."""
    folder = small(kind, **(FAMILIES[kind] | ({"sliding_window": 16} if kind == "mistral" else {})))
    prompts = ids_of(folder, [*PROMPTS, "A longer prompt, so that keys come in more than one depth. " * 25][:7])
    expected = theirs(folder, prompts, 20)
    engine = Engine(load_model(folder, device="cpu"), open_tokenizer(folder), max_length=512, fixed=True)
    for max_batch in (1, 3, 7):
        assert written(engine, prompts, Sampling(20), max_batch) == expected


def test_rows_without_a_text_write_over_nothing(small: Small) -> None:
    """Three texts are computed as four; the fourth row holds a prompt that fills its places to the last."""
    folder = small("llama", max_position_embeddings=2048)
    engine = Engine(load_model(folder, device="cpu"), open_tokenizer(folder), max_length=2048, fixed=True)
    cache = engine.cache()
    engine.read(cache, 0, [[1, 2], [3, 4], [5, 6]], [0, 0, 0])
    engine.read(cache, 3, [[(7919 * i + 1) % 49000 for i in range(PROMPT_TOKENS)]], [0])
    before = [layer[3, :, :PROMPT_TOKENS].clone() for layer in (*cache.keys, *cache.values)]
    engine.read(cache, 0, [[7], [8], [9]], [2, 2, 2])
    after = [layer[3, :, :PROMPT_TOKENS] for layer in (*cache.keys, *cache.values)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_prompt_longer_than_a_step_is_read_in_parts_while_others_are_written(small: Small) -> None:
    folder = small("llama", max_position_embeddings=2048)
    long = ids_of(folder, ["Many words, and then some more of them. " * 150])[0]
    assert len(long) > 2 * PROMPT_TOKENS
    prompts = [*ids_of(folder, PROMPTS[:3]), long, *ids_of(folder, PROMPTS[3:])]
    expected = theirs(folder, prompts, 12)
    engine = open_engine(folder, CPU)
    for max_batch in (1, 2, 8):
        assert written(engine, prompts, Sampling(12), max_batch) == expected


@pytest.mark.parametrize("which", ["smollm2_model", "smollm2_extended"])
def test_a_real_model_with_and_without_batching_cache_and_speculation(
    which: str, small: Small, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(which)
    prompts = ids_of(folder, PROMPTS)
    expected = theirs(folder, prompts, 16)
    engine = open_engine(folder, CPU)
    for max_batch in (1, 4):
        assert written(engine, prompts, Sampling(16), max_batch) == expected
    # Without a cache: every token after reading everything anew.
    ids = list(prompts[0])
    for _ in range(8):
        ids.append(int(engine.read(engine.cache(), 0, [ids], [0])[0].argmax()))
    assert ids[len(prompts[0]) :] == expected[0][:8]
    draft = open_engine(folder, Opening(device="cpu", quantize="int8"))
    speculator = Speculator(engine, draft)
    for number, prompt in enumerate(prompts):
        events = list(speculator.run(prompt, Sampling(16)))
        assert [event.token for event in events] == expected[number]
    tokens = sum(map(len, expected))
    assert speculator.passes < 0.7 * tokens, (speculator.passes, tokens)


def test_a_draft_that_is_always_wrong_changes_nothing(small: Small) -> None:
    folder = small("llama")
    other = small("llama", hidden_size=32)
    prompts = ids_of(folder, PROMPTS[:2])
    speculator = Speculator(open_engine(folder, CPU), open_engine(other, CPU))
    found = [[event.token for event in speculator.run(ids, Sampling(16))] for ids in prompts]
    assert found == theirs(folder, prompts, 16)
    assert speculator.accepted < speculator.proposed / 4


def test_a_draft_with_other_tokens_is_refused(small: Small, smollm2_extended: Path) -> None:
    with pytest.raises(VocabkitError, match="use a draft with the same tokenizer"):
        Speculator(open_engine(smollm2_extended, CPU), open_engine(small("llama"), CPU))


def test_text_does_not_depend_on_who_is_written_beside_it(small: Small) -> None:
    folder = small("llama")
    engine = open_engine(folder, CPU)
    prompts = ids_of(folder, PROMPTS)
    sampling = Sampling(24, temperature=1.0, top_p=0.9, top_k=50, seed=7, ignore_eos=True)
    together = written(engine, prompts, sampling, 8)
    assert written(engine, prompts, sampling, 1) == together
    assert written(engine, prompts, sampling, 3) == together
    assert len({tuple(one) for one in together}) == len(together)


def test_what_begins_alike_is_not_read_again(small: Small) -> None:
    folder = small("llama")
    engine = open_engine(folder, CPU)
    first, second = ids_of(folder, ["One two three four five. Six?", "One two three four five. Seven?"])
    scheduler = Scheduler(engine, max_batch=1)
    scheduler.submit(first, Sampling(4))
    list(scheduler.run())
    read = scheduler.prompt_tokens_read
    again = scheduler.submit(second, Sampling(12))
    list(scheduler.run())
    assert scheduler.prompt_tokens_read - read <= 4 < len(second)
    assert again.ids[len(second) :] == theirs(folder, [second], 12)[0]


def test_cancelling_leaves_the_others_alone(small: Small) -> None:
    folder = small("llama")
    engine = open_engine(folder, CPU)
    prompts = ids_of(folder, PROMPTS)
    expected = theirs(folder, prompts, 20)
    scheduler = Scheduler(engine, max_batch=4)
    texts = [scheduler.submit(ids, Sampling(20)) for ids in prompts]
    ended = {}
    for step in range(200):
        if step in (3, 6):
            scheduler.cancel(texts[step - 3])
        ended |= {event.writing: event.finish for event in scheduler.step() if event.finish}
    assert [ended[one] for one in (texts[0], texts[3])] == ["cancelled", "cancelled"]
    for number in (1, 2, 4, 5):
        assert texts[number].ids[len(prompts[number]) :] == expected[number]


def test_padding_is_never_written(smollm2_extended: Path, tmp_path: Path) -> None:
    engine = open_engine(smollm2_extended, CPU)
    size = engine.tokenizer.size
    assert engine.rows > size
    with torch.no_grad():
        weight = engine.model.get_output_embeddings().weight
        weight[size:] = 50 * weight[weight.norm(dim=1).argmax()]
        weight[size] *= -1
    prompts = ids_of(smollm2_extended, PROMPTS[:3])
    for one in written(engine, prompts, Sampling(12, temperature=5.0, seed=1, ignore_eos=True), 4):
        assert max(one) < size


def test_guidance_of_one_changes_nothing_and_more_leads_away(small: Small) -> None:
    folder = small("llama")
    engine = open_engine(folder, CPU)
    (ids, other) = ids_of(folder, PROMPTS[:2])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for scale in (1.0, 2.5):
        expected = model.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, guidance_scale=scale, pad_token_id=0,
            **({"negative_prompt_ids": torch.tensor([other])} if scale != 1 else {}),
        )  # fmt: skip
        scheduler = Scheduler(engine, max_batch=4)
        text = scheduler.submit(ids, Sampling(12, guidance=scale), negative=other)
        beside = scheduler.submit(other, Sampling(12))
        list(scheduler.run())
        assert text.ids == expected[0].tolist()
        assert beside.ids[len(other) :] == theirs(folder, [other], 12)[0]


def test_a_run_is_read_without_fusing(small: Small, smollm2_extended: Path, tmp_path: Path) -> None:
    text = tmp_path / "zh.txt"
    text.write_text("这家酒店的服务非常好。\n房间很大也很干净。\n" * 20, encoding="utf-8")
    run, fused = tmp_path / "run", tmp_path / "fused"
    vocabkit("train", smollm2_extended, "--stage", "pretrain", "--data", text, "--steps", 2, "--block-size", 32,
             "--batch-size", 2, "--rank", 4, "--learning-rate", 0.01, "--warmup", 0, "--cache", tmp_path / "cache",
             "-o", run)  # fmt: skip
    vocabkit("fuse", run, "-o", fused, "--no-verify")
    prompts = ids_of(fused, PROMPTS[:2])
    expected = theirs(fused, prompts, 12)
    assert expected != theirs(smollm2_extended, prompts, 12)
    assert written(open_engine(run, CPU), prompts, Sampling(12), 2) == expected
    moved = smollm2_extended.rename(smollm2_extended.with_name("moved"))
    try:
        with pytest.raises(VocabkitError, match="name it with --base"):
            open_engine(run, CPU)
        assert written(open_engine(run, Opening("cpu", base=moved)), prompts, Sampling(12), 2) == expected
    finally:
        moved.rename(smollm2_extended)


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_few_bits_stay_near_the_model(form: str, smollm2_model: Path) -> None:
    engine = open_engine(smollm2_model, CPU)
    (ids,) = ids_of(smollm2_model, ["The quick brown fox jumps over the lazy dog, and then it runs away."])
    exact = engine.read(engine.cache(), 0, [ids], [0], every=True)[0].log_softmax(-1)
    engine = open_engine(smollm2_model, Opening(device="cpu", quantize=form))
    near = engine.read(engine.cache(), 0, [ids], [0], every=True)[0].log_softmax(-1)
    apart = float((exact.exp() * (exact - near)).sum(-1).mean())
    assert 0 < apart < (0.05 if form == "int8" else 0.6)


def test_the_command_prints_the_continuation_alone(smollm2_model: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_model)
    ids = tokenizer(PROMPTS[0])["input_ids"]
    expected = tokenizer.decode(theirs(smollm2_model, [ids], 10)[0], skip_special_tokens=True)
    how = ("--max-new-tokens", 10, "--temperature", 0, "--dtype", "float32")
    assert vocabkit_json("generate", smollm2_model, "--prompt", PROMPTS[0], *how)["text"] == expected
    shown = vocabkit("generate", smollm2_model, "--prompt", PROMPTS[0], *how).stdout
    assert shown == expected + "\n"


def test_files_of_prompts_and_json_lines(small: Small, tmp_path: Path) -> None:
    folder, out = small("llama"), tmp_path / "out.jsonl"
    questions = tmp_path / "questions.jsonl"
    asked = [{"prompt": "One"}, {"messages": [{"role": "user", "content": "二"}]}]
    questions.write_text("".join(json.dumps(one) + "\n" for one in asked), encoding="utf-8")
    how = ("--max-new-tokens", 3, "--template", "alpaca", "-o", out)
    vocabkit("generate", folder, "--prompts", questions, *how)
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["new_tokens"] for record in records] == [3, 3]
    assert records[1]["messages"] == asked[1]["messages"]
    assert records[1]["prompt_tokens"] > 20
    assert "replace it with --force" in vocabkit("generate", folder, "--prompts", questions, *how, code=1).stderr
    questions.write_text('{"prompt": "One"}\n{"question": 1}\n', encoding="utf-8")
    failed = vocabkit("generate", folder, "--prompts", questions, code=1).stderr
    assert 'line 2 has neither "prompt" nor "messages"' in failed


def test_bad_input_is_one_line(small: Small, smollm2_folder: Path, tmp_path: Path) -> None:
    folder = small("llama")
    ask = ("--prompt", "One two", "--max-new-tokens", 2)

    def error(*arguments: object, code: int = 1) -> str:
        failed = vocabkit("generate", *arguments, code=code)
        lines = [line for line in failed.stderr.splitlines() if not line.startswith(("Loading", "Writing"))]
        assert len(lines) == 1, failed.stderr
        return lines[0]

    assert "holds no model: config.json is missing" in error(tmp_path, *ask)
    assert "holds no model" in error(smollm2_folder, *ask)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert "is an adapter of PEFT and no model; name the run" in error(adapter, *ask)
    assert "longer than the 512 tokens the model was trained with; add --rope yarn" in error(
        folder, *ask, "--context", 4096
    )
    assert "the context holds 512" in error(folder, "--prompt", "word " * 600)
    assert "unknown template 'alpacca'; did you mean 'alpaca'?" in error(folder, *ask, "--template", "alpacca")
    assert "--rope 'ntkk' is not one of" in error(folder, *ask, "--rope", "ntkk")
    assert "needs --context TOKENS, or a factor" in error(folder, *ask, "--rope", "yarn")
    assert "is no run, so it takes no --base" in error(folder, *ask, "--base", folder)
    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    config = json.loads((plain / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    for template in ("chat", "auto"):
        assert "has no chat template; choose --template alpaca" in error(
            plain, *ask, "--chat", "--template", template
        )
    weightless = tmp_path / "weightless"
    weightless.mkdir()
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (weightless / path.name).write_bytes(path.read_bytes())
    assert "cannot load" in error(weightless, *ask)


def test_the_template_that_was_learned_is_the_one_that_is_used(small: Small, tmp_path: Path) -> None:
    chats, run = tmp_path / "chats.jsonl", tmp_path / "run"
    chats.write_text('{"instruction": "Say yes.", "output": "Yes."}\n' * 8, encoding="utf-8")
    folder = small("llama")
    how = ("--stage", "instruct", "--rows", "none", "--template", "mixtral", "--cache", tmp_path / "cache")
    vocabkit("train", folder, "--data", chats, *how, "--steps", 1, "--block-size", 32, "--batch-size", 2, "-o", run)
    vocabkit("fuse", run, "-o", tmp_path / "fused", "--no-verify")
    vocabkit("quantize", tmp_path / "fused", "-o", tmp_path / "q4")
    tokenizer = open_tokenizer(folder)
    assert Prompts(folder, tokenizer).template == "chat"
    for learned in (run, tmp_path / "fused", tmp_path / "q4"):
        assert Prompts(learned, tokenizer).template == "mixtral"
    assert Prompts(run, tokenizer, "chat").template == "chat"


def test_a_model_that_computes_otherwise_is_refused(small: Small) -> None:
    folder = small("llama")
    model = load_model(folder, device="cpu")
    before = model.model.norm.forward
    calls = []

    def other(hidden: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        return before(hidden) * (1.0 if len(calls) == 1 else 1.5)

    model.model.norm.forward = other
    with pytest.raises(CheckpointError, match="computes its logits in a way that is not known here"):
        Engine(model, open_tokenizer(folder), max_length=512)


def test_prompts_follow_the_tokenizer(small: Small) -> None:
    folder = small("llama")
    engine = open_engine(folder, CPU)
    prompts = Prompts(folder, engine.tokenizer, "alpaca")
    ids = prompts.conversation([{"role": "user", "content": "你好"}])
    (text,) = [b"".join(engine.tokenizer.token_bytes(i) or b"" for i in ids).decode()]
    assert text.endswith("### Instruction:\n你好\n\n### Response: ")
    for bad in ([], [{"role": "robot", "content": "x"}], [{"role": "user", "content": 3}]):
        with pytest.raises(VocabkitError):
            prompts.conversation(bad)
