"""The small files beside a tokenizer: configuration, special tokens, chat template."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vocabkit.errors import TokenizerError

# Copied byte for byte; tokenizer_config.json alone is rewritten.
COPIED = ("chat_template.jinja", "chat_template.json", "special_tokens_map.json")
# The one class name under which transformers 5.8, 5.15 and 5.23 all load a tokenizer.json as it is.
TOKENIZER_CLASS = "PreTrainedTokenizerFast"


@dataclass
class Sidecars:
    """What stands beside a tokenizer file: copied files, tokenizer_config.json and the model's vocab_size."""

    copied: dict[str, bytes] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    vocab_size: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Sidecars:
        """Read what `folder` has of them."""
        copied = {name: (folder / name).read_bytes() for name in COPIED if (folder / name).is_file()}
        templates = folder / "additional_chat_templates"
        for path in sorted(templates.glob("*.jinja")) if templates.is_dir() else []:
            copied[f"{templates.name}/{path.name}"] = path.read_bytes()
        model_config = _json(folder / "config.json")
        vocab_size = model_config.get("vocab_size") or model_config.get("text_config", {}).get("vocab_size")
        return cls(copied, _json(folder / "tokenizer_config.json"), vocab_size)

    @property
    def chat_template(self) -> object:
        """The chat template, wherever it is kept; None when there is none."""
        if "chat_template.jinja" in self.copied:
            return self.copied["chat_template.jinja"].decode()
        return self.config.get("chat_template")

    def save(self, folder: Path, proto: Any = None) -> None:
        """Write them into `folder`; a SentencePiece file on its own gets a configuration made from `proto`."""
        for name, content in self.copied.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        config = self.config or _config_for(proto)
        config = {key: value for key, value in config.items() if key not in ("auto_map", "backend", "vocab_file")}
        config["tokenizer_class"] = TOKENIZER_CLASS
        text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TokenizerError(f"{path} is not valid JSON ({error}); fetch it again or remove it") from error
    if not isinstance(data, dict):
        raise TokenizerError(f"{path} holds no JSON object; fetch it again or remove it")
    return data


def _config_for(proto: Any) -> dict[str, Any]:
    if proto is None:
        return {"clean_up_tokenization_spaces": False}
    pieces = {piece.piece for piece in proto.pieces}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    present = {key: token for key, token in names.items() if token in pieces}
    return {**present, "clean_up_tokenization_spaces": False}
