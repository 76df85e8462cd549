"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vocabkit.infer.serve.worker import Worker

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Counters:
    """Counters of one server."""

    def __init__(self, worker: Worker) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("vocabkit_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.prompt_tokens = Counter("vocabkit_prompt_tokens", "Tokens of prompts.", registry=registry)
        self.new_tokens = Counter("vocabkit_new_tokens", "Tokens written.", registry=registry)
        self.first_token = Histogram(
            "vocabkit_first_token_seconds", "From request to first token.", buckets=SECONDS, registry=registry
        )
        self.whole = Histogram(
            "vocabkit_request_seconds", "From request to last token.", buckets=SECONDS, registry=registry
        )
        for name, text, value in (
            ("vocabkit_active", "Texts being written.", lambda: worker.active),
            ("vocabkit_waiting", "Texts that wait.", lambda: worker.waiting),
            ("vocabkit_cancelled", "Texts whose reader had gone.", lambda: worker.cancelled),
            ("vocabkit_cache_bytes", "Bytes of keys and values.", lambda: worker.cache_bytes),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
