"""The routes of the server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from vocabkit.errors import VocabkitError
from vocabkit.infer.embed import embedded, passes
from vocabkit.infer.prompts import Prompts
from vocabkit.infer.serve.answers import Reply
from vocabkit.infer.serve.counters import Counters
from vocabkit.infer.serve.gate import Gate, problem
from vocabkit.infer.serve.schema import ChatRequest, CompletionRequest, EmbeddingRequest, Writes
from vocabkit.infer.serve.worker import BusyError, Worker

# How often a request whose answer is not streamed looks whether its client is still there.
LOOK_SECONDS = 0.2
# Nothing of the page comes from elsewhere, and nobody else shows it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Limits:
    """What a server gives.

    max_body: bytes of a request.  max_new_tokens: of an answer.  default_new_tokens: where a request is silent.
    key: that clients must send.  hosts: names that are answered; None for all.
    """

    max_body: int = 4 << 20
    max_new_tokens: int = 4096
    default_new_tokens: int = 256
    key: str | None = None
    hosts: tuple[str, ...] | None = None


class Routes:
    """What the paths of the server do, for one model."""

    def __init__(self, worker: Worker, prompts: Prompts, name: str, limits: Limits) -> None:
        self.worker, self.prompts, self.name, self.limits = worker, prompts, name, limits
        self.counters = Counters(worker)
        self.started = int(time.time())

    def models(self) -> dict[str, Any]:
        """Return the one model there is."""
        about = {"id": self.name, "object": "model", "created": self.started, "owned_by": "vocabkit"}
        about |= {"max_model_len": self.worker.engine.max_length}
        return {"object": "list", "data": [about]}

    async def completions(self, request: Request, asked: CompletionRequest) -> Response:
        """Go on from prompts."""
        self._check(asked)
        rows = self.worker.engine.rows
        ids = []
        for one in _each(asked.prompt):
            found = self.prompts.plain(one) if isinstance(one, str) else list(one)
            if any(token >= rows for token in found):
                raise VocabkitError(f"a prompt has the token {max(found)}, and the model has {rows:,}")
            ids += [found] * asked.n
        echoes: list[str] = []
        if asked.echo:
            echoes = [self._text(one) for one in ids]
        return await self._written(request, asked, ids, is_chat=False, logprobs=asked.logprobs, echoes=echoes)

    async def chat(self, request: Request, asked: ChatRequest) -> Response:
        """Answer a conversation."""
        self._check(asked)
        if asked.max_completion_tokens is not None:
            asked.max_tokens = asked.max_completion_tokens
        ids = self.prompts.conversation(asked.cleaned())
        logprobs = asked.top_logprobs if asked.logprobs else None
        return await self._written(request, asked, [ids] * asked.n, is_chat=True, logprobs=logprobs)

    async def embeddings(self, asked: EmbeddingRequest) -> dict[str, Any]:
        """Return a unit vector for every text."""
        self._check(asked)
        ids = [self.prompts.plain(one) if isinstance(one, str) else list(one) for one in _each(asked.input)]
        vectors: dict[int, Any] = {}
        for group in passes(ids):
            # Between two passes those who are written to get their next token.
            part = [ids[i] for i in group]
            made = await self.worker.call(partial(embedded, self.worker.engine, part))
            vectors |= zip(group, made, strict=True)
        data = []
        for index, vector in sorted(vectors.items()):
            value: Any = vector.tolist()
            if asked.encoding_format == "base64":
                value = base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
            data.append({"object": "embedding", "index": index, "embedding": value})
        tokens = sum(len(one) for one in ids)
        self.counters.prompt_tokens.inc(tokens)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.name, "usage": usage}

    def _check(self, asked: Any) -> None:
        asked.refused()
        if asked.model and asked.model != self.name:
            raise HTTPException(404, f"there is no model {asked.model[:100]!r} here; it is called {self.name!r}")

    def _text(self, ids: Sequence[int]) -> str:
        tokenizer = self.worker.engine.tokenizer
        return b"".join(tokenizer.token_bytes(one) or b"" for one in ids).decode("utf-8", "replace")

    async def _written(
        self,
        request: Request,
        asked: Writes,
        ids: Sequence[Sequence[int]],
        *,
        is_chat: bool,
        logprobs: int | None,
        echoes: Sequence[str] = (),
    ) -> Response:
        sampling = asked.sampling(self.limits.max_new_tokens, self.limits.default_new_tokens, logprobs)
        answers = self.worker.write(ids, sampling)
        tokens = sum(len(one) for one in ids)
        self.counters.prompt_tokens.inc(tokens)
        reply = Reply(
            is_chat, self.name, answers, tokens, self.worker.engine.tokenizer, self.counters, echoes, logprobs,
            asked.wants_usage,
        )  # fmt: skip
        if asked.stream:
            return StreamingResponse(
                _closing(reply), media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
            )
        return await _unless_gone(request, reply)


def _each(given: Any) -> Sequence[Any]:
    """Return every prompt of a request: one text, one list of ids, or a list of either."""
    is_many = isinstance(given, list) and given and not isinstance(given[0], int)
    return given if is_many else [given]


async def _closing(reply: Reply) -> AsyncIterator[bytes]:
    """Yield a reply's pieces, and give up what is left when nobody reads them any more."""
    try:
        async for piece in reply.pieces():
            yield piece
    finally:
        reply.close()


async def _unless_gone(request: Request, reply: Reply) -> Response:
    """Return the whole reply, and stop writing it when the client goes."""
    work = asyncio.ensure_future(reply.whole())
    try:
        while not work.done():
            await asyncio.wait([work], timeout=LOOK_SECONDS)
            if not work.done() and await request.is_disconnected():
                break
        if work.done():
            return JSONResponse(work.result())
        return Response(status_code=499)
    finally:
        if not work.done():
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        reply.close()


def create_app(worker: Worker, prompts: Prompts, name: str, limits: Limits) -> Any:
    """Return the server as an ASGI application.  name: what the model is called."""
    routes = Routes(worker, prompts, name, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.stop)

    app = FastAPI(title="vocabkit", lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_errors(app)

    @app.get("/")
    def page() -> HTMLResponse:
        html = files("vocabkit.infer.serve").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(html, headers={"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer"})

    @app.get("/health")
    def health() -> Response:
        return JSONResponse(
            {"status": "ok"} if worker.is_alive else {"status": "dead"}, 200 if worker.is_alive else 503
        )

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(routes.counters.text(), media_type="text/plain; version=0.0.4")

    app.get("/v1/models")(routes.models)
    app.post("/v1/completions")(routes.completions)
    app.post("/v1/chat/completions")(routes.chat)
    app.post("/v1/embeddings")(routes.embeddings)
    paths = {getattr(route, "path", None) for route in app.routes}

    def count(path: str, status: int) -> None:
        # Whatever else somebody asks for is one line, not one for each.
        routes.counters.requests.labels(path if path in paths else "other", str(status)).inc()

    return Gate(app, max_body=limits.max_body, key=limits.key, hosts=limits.hosts, count=count)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith("function-"))
        return JSONResponse(problem(f"{where or 'the body'}: {first['msg']}", 400), 400)

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return JSONResponse(problem(str(error), 429), 429, headers={"Retry-After": "1"})

    @app.exception_handler(VocabkitError)
    async def refused(_: Request, error: VocabkitError) -> JSONResponse:
        return JSONResponse(problem(str(error), 400), 400)

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(problem(str(error.detail), error.status_code), error.status_code)
