"""Open a base tokenizer from whatever the user has: a folder, a file, or a hub id."""

from __future__ import annotations

from pathlib import Path

from vocabkit.errors import TokenizerError, VocabkitError
from vocabkit.tokenizer import hf_json, model_proto, tiktoken_file
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.byte_level_bpe import ByteLevelBpe
from vocabkit.tokenizer.folder import Sidecars
from vocabkit.tokenizer.sentencepiece_bpe import SentencePieceBpe

STARTER = "starter"
# In this order: a tokenizer.json is what transformers loads, a .model what it was made from.
MODEL_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
HUB_FILES = ("*.json", "*.model", "*.jinja", "*.tiktoken")


def open_tokenizer(spec: str | Path) -> Tokenizer:
    """Open the tokenizer that `spec` names.

    spec: a model folder, a tokenizer.json, a SentencePiece or tiktoken file, "starter" for the tokenizer that
    the extra `starter` brings, or a hub id.
    Raises TokenizerError when it is missing, damaged, or of a family that cannot be extended.
    """
    if spec == STARTER:
        return _open_file(starter_path(), Sidecars())
    path = Path(spec)
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        return _open_file(path, Sidecars.read(path.parent) if _is_named_like_a_tokenizer(path) else Sidecars())
    return _open_folder(_from_hub(str(spec)))


def starter_path() -> Path:
    """Return the path of the SentencePiece tokenizer in the package mistral-common."""
    from importlib.util import find_spec

    found = find_spec("mistral_common")
    if found is None or found.origin is None:
        raise VocabkitError(
            "no --base given and mistral-common is not installed; run `pip install 'vocabkit[starter]'`"
        )
    return Path(found.origin).parent / "data" / "tokenizer.model.v1"


def _open_folder(folder: Path) -> Tokenizer:
    sidecars = Sidecars.read(folder)
    json_path = folder / "tokenizer.json"
    model_path = next((folder / name for name in MODEL_NAMES if (folder / name).is_file()), None)
    if json_path.is_file():
        return _from_json(json_path, model_path, sidecars, source=folder)
    if model_path:
        return _open_file(model_path, sidecars, source=folder)
    ranks = sorted(folder.glob("*.tiktoken"))
    if ranks:
        return _open_file(ranks[0], sidecars, source=folder)
    raise TokenizerError(
        f"{folder} holds no tokenizer.json, tokenizer.model or *.tiktoken; name the folder of a model or tokenizer"
    )


def _open_file(path: Path, sidecars: Sidecars, *, source: Path | None = None) -> Tokenizer:
    """Open a file; `source` is the folder that was named when it was not the file itself."""
    source = source or path
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise TokenizerError(f"{path} is empty; fetch it again")
    if head.lstrip()[:1] == b"{":
        return _from_json(path, None, sidecars, source=source)
    if tiktoken_file.looks_like(head):
        return ByteLevelBpe(source, tiktoken_file.read(path), sidecars)
    proto = model_proto.read(path)
    kind = proto.trainer_spec.model_type
    if kind == model_proto.BPE_MODEL:
        return SentencePieceBpe(source, proto, None, sidecars)
    if kind == model_proto.UNIGRAM_MODEL:
        from vocabkit.tokenizer.unigram import Unigram

        return Unigram(source, proto, None, sidecars)
    raise TokenizerError(f"{path} is a SentencePiece word or character model; only BPE and Unigram can be extended")


def _from_json(path: Path, model_path: Path | None, sidecars: Sidecars, *, source: Path) -> Tokenizer:
    data = hf_json.read(path)
    kind = data["model"].get("type") or ("BPE" if "merges" in data["model"] else "unknown")
    if kind == "BPE" and hf_json.uses_byte_level(data):
        return ByteLevelBpe(source, data, sidecars)
    proto = model_proto.read(model_path) if model_path and not _is_tiktoken(model_path) else None
    if kind == "BPE" and data["model"].get("byte_fallback"):
        rebuilt = model_proto.from_json_bpe(data) if proto is None else proto
        return SentencePieceBpe(source, rebuilt, data, sidecars, has_model=proto is not None)
    if kind == "Unigram":
        from vocabkit.tokenizer.unigram import Unigram

        rebuilt = model_proto.from_json_unigram(data) if proto is None else proto
        return Unigram(source, rebuilt, data, sidecars, has_model=proto is not None)
    detail = "BPE without byte-level pre-tokenizer or byte fallback" if kind == "BPE" else kind
    raise TokenizerError(
        f"{path} is a tokenizer of an unknown family ({detail}); "
        f"byte-level BPE, SentencePiece BPE with byte fallback and Unigram can be extended"
    )


def _is_tiktoken(path: Path) -> bool:
    with path.open("rb") as file:
        return tiktoken_file.looks_like(file.read(4096))


def _is_named_like_a_tokenizer(path: Path) -> bool:
    # llama.model in a folder of many models has no sidecars; tokenizer.json in a model folder has.
    return path.name == "tokenizer.json" or path.name in MODEL_NAMES


def _from_hub(name: str) -> Path:
    looks_like_id = (
        name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith((".json", ".model"))
    )
    if not looks_like_id:
        raise TokenizerError(
            f"{name} does not exist; name a tokenizer file, a model folder or a hub id such as org/model"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise TokenizerError(
            f"{name} is no file or folder here; to fetch it from the hub run `pip install 'vocabkit[hub]'`"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    # Whatever the network or the hub answers, the user's next step is the same.
    except (OSError, ValueError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TokenizerError(f"{name} is no file or folder here, and the hub did not give it: {reason}") from error
