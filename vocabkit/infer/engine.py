"""A model that reads tokens into a cache and says what may come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vocabkit.errors import CheckpointError, VocabkitError
from vocabkit.infer.cache import NAME, Cache, Pass, register
from vocabkit.infer.graphs import Steps
from vocabkit.infer.norms import fuse_norms
from vocabkit.model.linears import PackedLinear, share_inputs
from vocabkit.tokenizer.base import Tokenizer
from vocabkit.tokenizer.start import eos_id, start_id

# Of logits computed in two ways, relative to the largest.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class Engine:
    """A causal language model of transformers with our cache and attention.

    model: any whose attention hands on what its forward is given: Llama, Mistral, Mixtral, Qwen and their kin.
    max_length: tokens of a text, its prompt included.  rows: of the vocabulary matrices.
    fixed: decode with tensors that stay where they are, which a GPU records; None: on a GPU.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, *, max_length: int, fixed: bool | None = None) -> None:
        self.model, self.tokenizer, self.max_length = model, tokenizer, max_length
        self.device, self.dtype = model.device, model.dtype
        self._is_fixed = model.device.type == "cuda" if fixed is None else fixed
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # Granite divides its logits, Cohere multiplies them, Gemma 2 bends them.
        self._scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._cache_shape = (config.num_hidden_layers, heads, width)
        self.rows = rows = model.get_input_embeddings().weight.shape[0]
        if tokenizer.size > rows:
            raise CheckpointError(
                f"{tokenizer.source}: the tokenizer has {tokenizer.size:,} tokens and the weights {rows:,} rows; "
                f"use the tokenizer the model was made with"
            )
        known = set(tokenizer.id_table.values()) | set(tokenizer.special_tokens.values())
        # Rows of no token are padding: nothing they say is text.
        padding = [i for i in range(rows) if i not in known]
        self._never = torch.tensor(padding, dtype=torch.long, device=self.device)
        self.start = start_id(tokenizer)
        self.ends = _ends(model, tokenizer)
        self._check()

    def cache(self) -> Cache:
        """Return an empty cache for this model."""
        return Cache(*self._cache_shape, self.dtype, self.device)

    def read(
        self, cache: Cache, first: int, texts: Sequence[Sequence[int]], starts: Sequence[int], *, every: bool = False
    ) -> Tensor:
        """Read further tokens of some texts, and return the logits of what comes next, float32.

        texts: ids for the rows of the cache from `first` on, which hold `starts` tokens each.
        Returns [B, V], after the last token of each; with `every`, [B, T, V], after each token, shorter ones padded.
        """
        with torch.inference_mode():
            if self._is_fixed and first == 0 and not every and all(len(text) == 1 for text in texts):
                if cache.steps is None:
                    cache.steps = Steps(self._one, cache, self.device)
                found: Tensor = cache.steps.run([text[0] for text in texts], starts)
                return found
            hidden = self.hidden(cache, first, texts, starts)
            if not every:
                last = torch.tensor([len(text) - 1 for text in texts], device=self.device)
                hidden = hidden[torch.arange(len(texts), device=self.device), last]
            return self._logits(hidden)

    def hidden(self, cache: Cache, first: int, texts: Sequence[Sequence[int]], starts: Sequence[int]) -> Tensor:
        """Read as `read` does, and return the states before the head, [B, T, width]; shorter texts are padded."""
        length = max(len(text) for text in texts)
        # What pads is read after the text, so nothing of the text sees it.
        padded = [[*text, *[0] * (length - len(text))] for text in texts]
        ids = torch.tensor(padded, dtype=torch.long, device=self.device)
        with torch.inference_mode():
            return self._body(Pass(cache, first, starts, length, self.device), ids)

    def _one(self, one: Pass, ids: Tensor) -> Tensor:
        return self._logits(self._body(one, ids)[:, 0])

    def _body(self, one: Pass, ids: Tensor) -> Tensor:
        found = self.model.base_model(input_ids=ids, position_ids=one.positions, use_cache=False, vocabkit_pass=one)
        hidden: Tensor = found.last_hidden_state
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        scaled = hidden if self._scale == 1 else hidden * self._scale
        logits: Tensor = self.model.get_output_embeddings()(scaled).float()
        if self._cap:
            logits = torch.tanh(logits / self._cap) * self._cap
        return logits.index_fill_(-1, self._never, -torch.inf) if len(self._never) else logits

    def _check(self) -> None:
        """Compare with the model's own way of computing, so that no model is run wrongly without a word."""
        size = self.tokenizer.size
        ids = [(1 + 7919 * i) % size for i in range(12)]
        with torch.inference_mode():
            theirs = self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False).logits[0].float()
            register()
            before = self.model.config._attn_implementation
            fuse_norms(self.model)
            share_inputs(self.model)
            self.model.set_attn_implementation(NAME)
            cache = self.cache()
            try:
                first = self.read(cache, 0, [ids[:8]], [0], every=True)[0]
                second = self.read(cache, 0, [ids[8:]], [8], every=True)[0]
            except (TypeError, AttributeError, RuntimeError) as error:
                self.model.set_attn_implementation(before)
                raise CheckpointError(
                    f"{type(self.model).__name__} cannot be run here ({str(error).splitlines()[0]}); "
                    f"Llama, Mistral, Mixtral, Qwen and models built like them can"
                ) from error
        ours = torch.cat([first, second])
        ours[:, self._never] = theirs[:, self._never]
        apart = float((ours - theirs).abs().max())
        rounds = any(isinstance(one, PackedLinear) for one in self.model.modules())
        tolerance = TOLERANCE[torch.bfloat16 if rounds else self.dtype]
        if not apart <= tolerance * float(theirs.abs().max()):
            raise CheckpointError(
                f"{type(self.model).__name__} computes its logits in a way that is not known here ({apart:.2g} "
                f"apart); it cannot be run"
            )

    def checked_length(self, prompt: int, new: int) -> int:
        """Return how many tokens may follow a prompt: `new`, or what the model's context leaves of it.

        Raises VocabkitError when the prompt alone fills the context.
        """
        if prompt >= self.max_length:
            raise VocabkitError(
                f"the prompt has {prompt:,} tokens and the context holds {self.max_length:,}; shorten it, or stretch "
                f"the context with --rope yarn --context {2 * prompt}"
            )
        return min(new, self.max_length - prompt)


def _ends(model: Any, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids that end a text: what generation_config.json says, and the tokenizer's."""
    said = getattr(model.generation_config, "eos_token_id", None)
    found = set(said if isinstance(said, list) else [] if said is None else [said])
    own = eos_id(tokenizer)
    if own is not None:
        found.add(own)
    return frozenset(found)
