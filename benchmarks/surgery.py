"""Growing a checkpoint's vocabulary: time and memory against copying the folder, and against two peers.

    python benchmarks/surgery.py FOLDER [--shape 7b|1b] [--tokens 20000] [--runs 3] [--mergekit PATH_OF_ITS_PROGRAM]

FOLDER is for scratch: a synthetic Llama checkpoint in bfloat16 (7b: 13.5 GB in 6 shards, untied; 1b: 2.6 GB in 2) is
made there, and removed at the end.  `vocabkit` is what `extend` does to the weights: read, make rows, write, flush to
the disk, rename, checksums of every file.  Copying is `cp -r`, and `cp -r` followed by `sync`, which is what the
flushing compares to.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import alternate, run, save

SHAPES = {
    "7b": {"layers": 32, "hidden": 4096, "intermediate": 11008, "heads": 32, "shards": 6},
    "1b": {"layers": 16, "hidden": 2048, "intermediate": 8192, "heads": 16, "shards": 2},
    "tiny": {"layers": 2, "hidden": 256, "intermediate": 512, "heads": 4, "shards": 2},
}
OURS = """
import sys
from pathlib import Path
from vocabkit.files import whole_folder
from vocabkit.manifest import XXH3, write_manifest
from vocabkit.rows.checkpoint import open_checkpoint
from vocabkit.rows.initializers import copy
from vocabkit.tokenizer import open_tokenizer
from vocabkit.vocabulary.checks import padded_rows
from vocabkit.vocabulary.merge import ranked
from vocabkit.vocabulary.vocabulary_file import read_vocabulary
from vocabkit.vocabulary.requests import RowOptions
from vocabkit.vocabulary.weights import extend_weights
folder, vocabulary, output = map(Path, sys.argv[1:])
base = open_tokenizer(folder)
merged = ranked(base, read_vocabulary(vocabulary), None)
with whole_folder(output, force=True) as out:
    merged.tokenizer.save(out)
    written = extend_weights(
        open_checkpoint(folder), base, merged.tokenizer, merged.added, out,
        rows=padded_rows(base, merged.tokenizer.size), how=RowOptions(copy, "copy"),
    )
    checksums = {name: XXH3 + value for name, value in written.checksums.items()}
    write_manifest(out, "extend", arguments={}, inputs=[], checksums=checksums)
"""
TRANSFORMERS = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto", local_files_only=True)
# Its default draws from the old rows' covariance, which takes nine minutes more here: leave that out, in its favour.
model.resize_token_embeddings(32000 + int(sys.argv[3]), pad_to_multiple_of=64, mean_resizing=False)
model.save_pretrained(sys.argv[2], max_shard_size="2.5GB")
"""
COMMAND = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"


def make_checkpoint(folder: Path, shape: dict[str, int]) -> None:
    """Write a Llama checkpoint of random bfloat16 values, shard by shard."""
    import torch
    from safetensors.torch import save_file

    from vocabkit.tokenizer.open import starter_path

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hidden, middle = shape["hidden"], shape["intermediate"]
    sizes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32_000, hidden)}
    for i in range(shape["layers"]):
        name = f"model.layers.{i}"
        sizes |= {f"{name}.self_attn.{x}_proj.weight": (hidden, hidden) for x in "qkvo"}
        sizes |= {f"{name}.mlp.{x}_proj.weight": (middle, hidden) for x in ("gate", "up")}
        sizes |= {f"{name}.mlp.down_proj.weight": (hidden, middle)}
        sizes |= {f"{name}.{x}_layernorm.weight": (hidden,) for x in ("input", "post_attention")}
    sizes |= {"model.norm.weight": (hidden,), "lm_head.weight": (32_000, hidden)}
    names = list(sizes)
    per_shard = -(-len(names) // shape["shards"])
    weight_map = {}
    block = torch.randn(1 << 20, dtype=torch.bfloat16)
    for number in range(shape["shards"]):
        file = f"model-{number + 1:05}-of-{shape['shards']:05}.safetensors"
        part = names[number * per_shard : (number + 1) * per_shard]
        tensors = {}
        for name in part:
            count = 1
            for n in sizes[name]:
                count *= n
            # Rows of the vocabulary are all different; the body repeats a block, which is quicker to make.
            values = (
                torch.randn(count, dtype=torch.bfloat16)
                if sizes[name][0] == 32_000
                else block.repeat(-(-count // len(block)))[:count]
            )
            tensors[name] = values.reshape(sizes[name]) * 0.02
        save_file(tensors, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32_000, "hidden_size": hidden,
        "intermediate_size": middle, "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["heads"], "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(starter_path(), folder / "tokenizer.model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mergekit", help="the mergekit-tokensurgeon of an environment that has it")
    parser.add_argument("--no-transformers", action="store_true")
    options = parser.parse_args()
    base, vocabulary, out = (options.folder / name for name in ("base", "vocabulary", "out"))
    # In a process of its own: a child's peak memory starts from its parent's.
    maker = multiprocessing.get_context("spawn").Process(target=make_checkpoint, args=(base, SHAPES[options.shape]))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit("the checkpoint could not be made")
    learn = ["learn", "--lang", "zh", "--size", str(options.tokens), "-o", str(vocabulary), "--force"]
    subprocess.run([sys.executable, "-m", "vocabkit", *learn], check=True)

    def fresh(code: str, *arguments: str) -> Any:
        shutil.rmtree(out, ignore_errors=True)
        return run(code, *arguments)

    copy = ["cp", "-r", str(base), str(out)]
    jobs = {
        "cp": lambda: fresh(COMMAND, *copy),
        "cp and sync": lambda: fresh(COMMAND, "sh", "-c", f"{' '.join(copy)} && sync -f {out}"),
        "vocabkit": lambda: fresh(OURS, str(base), str(vocabulary), str(out)),
    }
    if not options.no_transformers:
        jobs["transformers"] = lambda: fresh(TRANSFORMERS, str(base), str(out), str(options.tokens))
    if options.mergekit:
        donor = options.folder / "donor"
        shutil.rmtree(donor, ignore_errors=True)
        run(OURS, str(base), str(vocabulary), str(donor))
        method = ["--approximation-method", "subword"]
        jobs["mergekit"] = lambda: fresh(COMMAND, options.mergekit, str(base), str(donor), str(out), *method)
    try:
        measured = alternate(jobs, options.runs)
        ours = measured["vocabkit"]
        save(
            f"surgery-{options.shape}",
            {
                "shape": SHAPES[options.shape],
                "gigabytes": round(sum(p.stat().st_size for p in base.glob("*.safetensors")) / 1e9, 2),
                "tokens": options.tokens,
                "measured": measured,
                "seconds_of_ours_over": {
                    name: round(ours["seconds"] / row["seconds"], 2) for name, row in measured.items()
                },
                "memory_of_ours_over": {
                    name: round(ours["megabytes"] / row["megabytes"], 3) for name, row in measured.items()
                },
            },
        )
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
