"""Requests as OpenAI's clients send them; fields that change nothing here are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vocabkit.errors import VocabkitError
from vocabkit.infer.sampling import Sampling

MAX_TEXTS = 128
# Fields that would change the answer and that this server cannot heed.
REFUSED = ("logit_bias", "suffix", "tools", "functions", "response_format", "best_of", "dimensions")
# Values of them that ask for nothing.
HARMLESS: dict[str, tuple[Any, ...]] = {"response_format": ({"type": "text"},), "best_of": (1,)}


def _clean(text: str) -> str:
    """Return text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


Text = Annotated[str, AfterValidator(_clean)]
Texts = Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
Ids = list[Annotated[int, Field(ge=0)]]


class Request(BaseModel):
    """What requests share."""

    model_config = ConfigDict(extra="allow")
    model: str = ""

    def refused(self) -> None:
        """Raise VocabkitError for a field that cannot be heeded."""
        for name in REFUSED:
            value = (self.model_extra or {}).get(name)
            if value not in (None, [], {}, "", *HARMLESS.get(name, ())):
                raise VocabkitError(f"{name} is not supported; leave it out")


class Writes(Request):
    """A request for text."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] = 1.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    n: Annotated[int, Field(ge=1, le=MAX_TEXTS)] = 1
    seed: int | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    ignore_eos: bool = False

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return bool((self.stream_options or {}).get("include_usage"))

    def sampling(self, most: int, default: int, logprobs: int | None) -> Sampling:
        """Return how tokens are chosen.  most: tokens that may be asked for.  default: when the request is silent."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_new_tokens=min(self.max_tokens or default, most),
            temperature=self.temperature,
            top_k=max(self.top_k, 0),
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=None if self.seed is None else self.seed % (1 << 63),
            stop=tuple(one for one in stop if one),
            ignore_eos=self.ignore_eos,
            logprobs=logprobs,
        )


class CompletionRequest(Writes):
    """`/v1/completions`."""

    prompt: Texts | Ids | Annotated[list[Ids], Field(max_length=MAX_TEXTS)]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool = False


class ChatRequest(Writes):
    """`/v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0

    def cleaned(self) -> list[dict[str, Any]]:
        """Return the messages without halves of surrogate pairs."""
        return [_cleaned(one) for one in self.messages]


class EmbeddingRequest(Request):
    """`/v1/embeddings`."""

    input: Texts | Ids | Annotated[list[Ids], Field(max_length=MAX_TEXTS)]
    encoding_format: Annotated[str, Field(pattern="^(float|base64)$")] = "float"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(one) for key, one in value.items()}
    return value
