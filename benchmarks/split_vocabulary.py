"""Training new rows alone: step time and memory of the split vocabulary against two ways to train the whole one.

    python benchmarks/split_vocabulary.py [--old 32000] [--new 8000] [--width 1024] [--tokens 512] [--runs 3]

One frozen Llama layer stands for the body, so that what is measured is embedding, head, loss and optimizer.  Untied,
float32 on a CPU, bfloat16 on a GPU.
    split   `split_embedding`, `linear_cross_entropy` and `RowAdamW`: new rows alone have gradients and moments
    dense   what resize_token_embeddings and AdamW do: all rows of both matrices are trained
    peft    PEFT's TrainableTokens on both matrices, trained by AdamW
Each runs in a process of its own; `split` and `peft` train the same rows from the same start, and have to reach the
same loss.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from harness import save

WAYS = ("split", "dense", "peft")
LEARNING_RATE = 1e-3


def body(old: int, new: int, width: int) -> Any:
    """Return a Llama of one layer, its matrices untied, the same at every call."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=old + new, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1,
        num_attention_heads=width // 64, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if torch.cuda.is_available():
        model = model.to("cuda", torch.bfloat16)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def prepare(way: str, old: int, new: int, width: int) -> tuple[Callable[[Any], Any], torch.optim.Optimizer]:
    """Return the function from ids to loss, and the optimizer."""
    model = body(old, new, width)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if way == "split":
        from vocabkit_kernels import RowAdamW, linear_cross_entropy, split_embedding

        rows = [torch.nn.Parameter(layer.weight[old:].clone()) for layer in (embedding, head)]
        frozen = [layer.weight[:old] for layer in (embedding, head)]

        def loss(ids: Any) -> Any:
            hidden = model.model(inputs_embeds=split_embedding(ids, frozen[0], rows[0])).last_hidden_state
            return linear_cross_entropy(hidden[:, :-1], frozen[1], rows[1], ids[:, 1:])

        return loss, RowAdamW(rows, lr=LEARNING_RATE, weight_decay=0.0)
    if way == "peft":
        from peft import TrainableTokensConfig, get_peft_model

        config = TrainableTokensConfig(
            token_indices=list(range(old, old + new)), target_modules=["embed_tokens", "lm_head"]
        )
        model = get_peft_model(model, config)
    else:
        for layer in (embedding, head):
            layer.weight.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    return lambda ids: model(input_ids=ids, labels=ids).loss, optimizer


def measure(way: str, old: int, new: int, width: int, tokens: int, steps: int) -> dict[str, Any]:
    """Train `steps` steps; return seconds of each, the peak of memory beyond the model's, and losses."""
    on_gpu = torch.cuda.is_available()
    loss_of, optimizer = prepare(way, old, new, width)
    generator = torch.Generator().manual_seed(1)
    before = torch.cuda.memory_allocated() if on_gpu else current_bytes()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds, losses = [], []
    for _ in range(steps):
        # Half of the ids are new, as in text of the language.
        either = torch.randint(0, 2, (1, tokens), generator=generator)
        ids = torch.where(
            either == 1,
            torch.randint(old, old + new, (1, tokens), generator=generator),
            torch.randint(0, old, (1, tokens), generator=generator),
        ).to("cuda" if on_gpu else "cpu")
        begun = time.perf_counter()
        loss = loss_of(ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - begun)
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    state = sum(
        value.nbytes for found in optimizer.state.values() for value in found.values() if torch.is_tensor(value)
    )
    begun = time.perf_counter()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    begun = time.perf_counter()
    optimizer.step()
    if on_gpu:
        torch.cuda.synchronize()
    return {
        "seconds": median(seconds[1:]),
        "optimizer_seconds": time.perf_counter() - begun,
        "megabytes": (peak - before) / 1e6,
        "state_megabytes": state / 1e6,
        "losses": losses,
    }


def current_bytes() -> int:
    """Return the memory that the process has now, on Linux."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("old", 32_000), ("new", 8_000), ("width", 1024), ("tokens", 512), ("steps", 8), ("runs", 3),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = {name: getattr(options, name) for name in ("old", "new", "width", "tokens", "steps")}
    if options.way:
        print(json.dumps(measure(options.way, **shape)))
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.runs):
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way]
            command += [part for name, value in shape.items() for part in (f"--{name}", str(value))]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
            shown = {name: value for name, value in found[way][-1].items() if name != "losses"}
            print(f"run {number + 1}, {way}: {shown}", file=sys.stderr, flush=True)
    ours, theirs = (torch.tensor(found[way][0]["losses"]) for way in ("split", "peft"))
    assert torch.allclose(ours, theirs, rtol=1e-2 if torch.cuda.is_available() else 1e-4), (ours, theirs)
    figures = ("seconds", "optimizer_seconds", "megabytes", "state_megabytes")
    middle = {way: {name: median(run[name] for run in runs) for name in figures} for way, runs in found.items()}
    save(
        "split-vocabulary",
        {
            "shape": shape,
            "torch": torch.__version__,
            "measured": {way: {name: round(v, 4) for name, v in row.items()} for way, row in middle.items()},
            "all_seconds": {way: [round(run["seconds"], 4) for run in runs] for way, runs in found.items()},
            "times_ours": {
                way: {name: round(row[name] / middle["split"][name], 2) for name in figures}
                for way, row in middle.items()
            },
            "greatest_difference_of_losses": float((ours - theirs).abs().max()),
        },
    )


if __name__ == "__main__":
    main()
