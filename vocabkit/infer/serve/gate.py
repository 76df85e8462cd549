"""What a request must pass before it is read: its size, its key, its host."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Everybody may see whether the server lives, and the page, which asks for the key itself.
OPEN = ("/", "/health", "/favicon.ico")
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


class Gate:
    """Refuses bodies above `max_body` bytes, requests without the key, and names a loopback server does not have.

    A page of another site could make a browser send requests here under a name of its own; on loopback only our own
    names are answered.  key: None for none.  hosts: names that are answered; None for all.
    count: called with the path and the status of every answer.
    """

    def __init__(
        self,
        app: Any,
        *,
        max_body: int,
        key: str | None,
        hosts: tuple[str, ...] | None,
        count: Callable[[str, int], None],
    ) -> None:
        self._app, self._max_body, self._key, self._hosts, self._count = app, max_body, key, hosts, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = self._counted(scope["path"], send)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope["path"], headers)
        if refused:
            await _answer(send, *refused)
            return
        body = _Body(receive, self._max_body)

        async def unless_too_large(message: MutableMapping[str, Any]) -> None:
            # Whatever the application makes of a body that it could not read: this is why.
            if not body.is_too_large:
                await send(message)
            elif message["type"] == "http.response.start":
                await _answer(send, *self._too_large)

        await self._app(scope, body.receive, unless_too_large)

    @property
    def _too_large(self) -> tuple[int, str, str]:
        return 413, f"the body is larger than {self._max_body:,} bytes", "body_too_large"

    def _counted(self, path: str, send: Send) -> Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._count(path, message["status"])
            await send(message)

        return counted

    def _refused(self, path: str, headers: dict[bytes, str]) -> tuple[int, str, str] | None:
        if self._hosts is not None:
            host = headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", "")
            if host not in self._hosts:
                return 421, f"this server is not called {host[:100]!r}; ask for {self._hosts[0]}", "invalid_host"
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self._max_body:
            return self._too_large
        if self._key is not None and path not in OPEN:
            given = headers.get(b"authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self._key.encode()):
                return 401, "the API key is missing or wrong; send Authorization: Bearer KEY", "invalid_api_key"
        return None


class _Body:
    """A body that may come without its length, and ends where it becomes too large."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left = receive, most
        self.is_too_large = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_large = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return message


async def _answer(send: Send, status: int, message: str, code: str) -> None:
    body = json.dumps(problem(message, status, code)).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem(message: str, status: int, code: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
