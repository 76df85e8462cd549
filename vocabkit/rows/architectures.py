"""Where architectures keep their vocabulary rows: data, not code.

A new architecture is a new line.  Names are those that transformers saves.
"""

from __future__ import annotations

# Input embeddings, [rows, width].
INPUTS = (
    "model.embed_tokens.weight",  # Llama, Mistral, Mixtral, Qwen2/3, Gemma, Phi, OLMo, DeepSeek, SmolLM, Granite, ...
    "model.language_model.embed_tokens.weight",  # models with vision, since transformers 4.52
    "language_model.model.embed_tokens.weight",  # the same, as saved before
    "model.decoder.embed_tokens.weight",  # OPT
    "transformer.wte.weight",  # GPT-2, GPT-J, GPT-Neo, MPT, Qwen 1
    "wte.weight",  # GPT-2 saved without its head
    "gpt_neox.embed_in.weight",  # Pythia
    "transformer.word_embeddings.weight",  # Falcon, BLOOM
    "word_embeddings.weight",  # BLOOM saved without its head
    "model.tok_embeddings.weight",  # InternLM2
    "transformer.embedding.word_embeddings.weight",  # ChatGLM
    "embed_tokens.weight",  # any of the first, saved without its head
)
# Output heads, [rows, width]; the bias of a head, where there is one, is beside it.
HEADS = (
    "lm_head.weight",
    "language_model.lm_head.weight",
    "embed_out.weight",  # GPT-NeoX
    "output.weight",  # InternLM2
    "transformer.output_layer.weight",  # ChatGLM
)
# Per-layer rows that cannot be made from the input embeddings: extending such a model would leave them short.
UNSUPPORTED = ("embed_tokens_per_layer.weight",)
# Where config.json says the number of rows, beside its top level.
NESTED = ("text_config", "llm_config", "language_config")


def bias_of(head: str) -> str:
    """Return the name of a head's bias: "lm_head.weight" -> "lm_head.bias"."""
    return head.removesuffix("weight") + "bias"
