"""`vocabkit serve`: a model behind OpenAI's protocol, and a page to talk to it."""

from __future__ import annotations

import os
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.cli.sampling import opening, opening_of
from vocabkit.errors import VocabkitError

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--name", help="What clients call the model.  [default: its folder's name]")
@click.option("--template", default="auto", show_default=True, help="auto, chat, alpaca, alpaca-2 or mixtral.")
@click.option("--max-batch", type=click.IntRange(1), default=16, show_default=True, help="Texts written at once.")
@click.option("--max-waiting", type=click.IntRange(0), default=256, show_default=True, help="Requests that may wait.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=4096, show_default=True, help="Of one answer.")
@click.option("--max-body", type=options.Size(), default="4M", show_default=True, help="Of one request.")
@click.option("--api-key", envvar="VOCABKIT_API_KEY", help="What clients must send.  [env: VOCABKIT_API_KEY]")
@click.option("--grace", type=click.IntRange(0), default=30, show_default=True, help="Seconds to finish at the end.")
@opening
def serve(
    model: Path,
    host: str,
    port: int,
    name: str | None,
    template: str,
    max_batch: int,
    max_waiting: int,
    max_new_tokens: int,
    max_body: int,
    api_key: str | None,
    grace: int,
    **given: Any,
) -> None:
    """Serve a model to OpenAI's clients, and a chat page at /, until Ctrl-C or SIGTERM.

    /v1/models, /v1/completions, /v1/chat/completions, /v1/embeddings, /health, /metrics.

    \b
    Examples:
      vocabkit serve llm-zh --quantize int8
      OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none python client.py
    """
    from vocabkit.model.load import need_models

    need_models("serving", "serve")
    missing = [one for one in NEEDED if find_spec(one) is None]
    if missing:
        raise VocabkitError(f"serving needs {', '.join(missing)}; run `pip install 'vocabkit[serve]'`")
    # A port that is in use is said before minutes of loading.
    listening = _listening(host, port)
    import uvicorn

    from vocabkit.infer.load import open_engine
    from vocabkit.infer.prompts import Prompts
    from vocabkit.infer.serve.app import Limits, create_app
    from vocabkit.infer.serve.gate import LOOPBACK
    from vocabkit.infer.serve.worker import Worker

    console.note(f"Loading {model}")
    engine = open_engine(model, opening_of(given))
    prompts = Prompts(model, engine.tokenizer, template)
    is_loopback = host in LOOPBACK
    limits = Limits(
        max_body=max_body, max_new_tokens=max_new_tokens, key=api_key or None, hosts=LOOPBACK if is_loopback else None
    )
    worker = Worker(engine, max_batch=max_batch, max_waiting=max_waiting)
    called = name or os.path.basename(os.path.abspath(model))
    app = create_app(worker, prompts, called, limits)
    if not is_loopback and not api_key:
        console.note(f"note: {host} is open to other machines and no --api-key is set")
    shown = f"[{host}]" if ":" in host else host
    console.result(f"{called} is served at http://{shown}:{listening.getsockname()[1]} (Ctrl-C ends it)")
    # uvicorn finishes what it can and then raises the signal once more; the server has ended well by then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=grace)
    uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; raises VocabkitError when that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise VocabkitError(f"--host {host} is no address of this machine ({error.strerror})") from error
    found = socket.socket(family, kind, protocol)
    try:
        # A server that was stopped a moment ago does not keep its port.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise VocabkitError(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another --port, 0 for any"
        ) from error
    return found
