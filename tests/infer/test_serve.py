"""The server with OpenAI's own client, many clients at once, and clients that misbehave."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from runs import vocabkit
from served import Served, serving

openai = pytest.importorskip("openai")
pytest.importorskip("fastapi")

NAME = "model"
QUESTION = [{"role": "user", "content": "你好，请介绍一下自己。"}]


@pytest.fixture(scope="module")
def model(small: Callable[..., Path]) -> Path:
    return small("llama", max_position_embeddings=1024)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Served]:
    with serving(model, "--template", "alpaca", "--max-batch", 16) as served:
        yield served


def opened(server: Served, key: str = "none") -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[Any]:
    with opened(server) as found:
        yield found


def expected(model: Path, prompt: str, count: int) -> str:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    plain = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    made = plain.generate(ids, max_new_tokens=count, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    found: str = tokenizer.decode(made, skip_special_tokens=True)
    return found


def metric(server: Served, name: str) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def post(server: Served, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_completions_are_those_of_transformers(client: Any, model: Path) -> None:
    wanted = expected(model, "The capital of France is", 12)
    how = {"model": NAME, "prompt": "The capital of France is", "max_tokens": 12, "temperature": 0}
    found = client.completions.create(**how)
    # A character that was cut in two at the end is not said.
    assert wanted.rstrip("\ufffd") == found.choices[0].text
    assert found.usage.prompt_tokens == 5
    pieces = list(client.completions.create(**how, stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == found.choices[0].text
    assert pieces[-1].usage.completion_tokens == found.usage.completion_tokens
    assert [model.id for model in client.models.list()] == [NAME]


def test_chats_lists_choices_and_echoes(client: Any) -> None:
    how = {"model": NAME, "messages": QUESTION, "max_tokens": 8}
    greedy = client.chat.completions.create(**how, temperature=0)
    assert greedy.choices[0].message.role == "assistant"
    streamed = client.chat.completions.create(**how, temperature=0, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in streamed) == greedy.choices[0].message.content
    several = [client.chat.completions.create(**how, temperature=1.5, n=3, seed=4) for _ in range(2)]
    texts = [[choice.message.content for choice in one.choices] for one in several]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1
    both = client.completions.create(model=NAME, prompt=["One", "二"], max_tokens=4, temperature=0, echo=True)
    assert [choice.text[:3].strip() for choice in both.choices] == ["One", both.choices[1].text[:3].strip()]
    assert both.choices[1].text.startswith("二")
    ids = client.completions.create(model=NAME, prompt=[[5, 6], [7]], max_tokens=2, temperature=0)
    assert ids.usage.prompt_tokens == 3


def test_log_probabilities(client: Any) -> None:
    how = {"model": NAME, "max_tokens": 3, "temperature": 0}
    chat = client.chat.completions.create(**how, messages=QUESTION, logprobs=True, top_logprobs=3)
    for token in chat.choices[0].logprobs.content:
        best = token.top_logprobs
        assert len(best) == 3
        assert token.logprob == best[0].logprob <= 0
        assert best[0].logprob >= best[1].logprob
    plain = client.completions.create(**how, prompt="One", logprobs=2).choices[0].logprobs
    assert len(plain.tokens) == len(plain.token_logprobs) == 3


def test_stop_strings_end_the_text(client: Any, model: Path) -> None:
    text = expected(model, "The capital of France is", 24)
    stop = text[6:9]
    found = client.completions.create(
        model=NAME, prompt="The capital of France is", max_tokens=24, temperature=0, stop=[stop]
    ).choices[0]
    assert found.text == text[: text.index(stop)]
    assert found.finish_reason == "stop"


def test_embeddings(client: Any, model: Path) -> None:
    texts = ["One two three", "Eins zwei drei, and much more of it", "一二三"]
    found = [np.array(one.embedding) for one in client.embeddings.create(model=NAME, input=texts).data]
    as_floats = client.embeddings.create(model=NAME, input=texts, encoding_format="float").data
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    plain = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    for text, vector, floats in zip(texts, found, as_floats, strict=True):
        hidden = plain.base_model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        wanted = torch.nn.functional.normalize(hidden, dim=0).detach().numpy()
        np.testing.assert_allclose(vector, wanted, atol=1e-5)
        np.testing.assert_allclose(floats.embedding, wanted, atol=1e-5)


def test_errors_are_what_clients_know(client: Any, server: Served) -> None:
    with pytest.raises(openai.NotFoundError, match=f"it is called '{NAME}'"):
        client.completions.create(model="gpt-4", prompt="x")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model=NAME, prompt="x", temperature=-1)
    with pytest.raises(openai.BadRequestError, match="the context holds 1,024"):
        client.completions.create(model=NAME, prompt="word " * 1500)
    with pytest.raises(openai.BadRequestError, match="tools is not supported"):
        client.chat.completions.create(
            model=NAME, messages=QUESTION, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    with pytest.raises(openai.BadRequestError, match="has the token 999999"):
        client.completions.create(model=NAME, prompt=[999999])
    with pytest.raises(openai.BadRequestError, match="no text"):
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": None}])
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=NAME, input="")
    assert post(server, "/v1/nothing", b"{}")[0] == 404


BAD_BODIES = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"prompt": "\xff"}', b'{"messages": "x"}', b'{"messages": [1]}',
    b'{"messages": [{"role": "user"}]}', b'{"prompt": {"a": 1}}', b'{"prompt": "x", "max_tokens": 0}',
    b'{"prompt": "x", "max_tokens": 1e99}', b'{"prompt": "x", "n": 100000}', b"[" * 100_000, b'{"a":' * 50_000,
    b'{"prompt": "x", "temperature": NaN}', b'{"prompt": ["a", 1]}',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"])
def test_bodies_that_are_no_request(path: str, server: Served) -> None:
    for body in BAD_BODIES:
        status, answer = post(server, path, body)
        assert 400 <= status < 500, (body[:40], status)
        assert answer["error"]["message"]
    assert post(server, "/v1/completions", b'{"prompt": "x", "max_tokens": 1}')[0] == 200


def test_unicode_garbage_is_answered(server: Served) -> None:
    for text in (
        '"\\ud800"',
        '"\\udc00\\ud800 x"',
        '"\\u0000\\uffff\\u202e"',
        '"' + "\u0301" * 300 + '"',
        '"🏳️‍🌈\\ud83d"',
    ):
        status, found = post(server, "/v1/completions", f'{{"prompt": {text}, "max_tokens": 2}}'.encode())
        assert status == 200, found
        chat = f'{{"messages": [{{"role": "user", "content": {text}}}], "max_tokens": 2}}'
        assert post(server, "/v1/chat/completions", chat.encode())[0] == 200


def test_bodies_that_are_too_large(server: Served) -> None:
    # 100 MB that is announced is refused before it is read.
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Content-Length: 100000000\r\n\r\n".encode())
        assert b" 413 " in raw.recv(1000)
    # And what comes in chunks, without a length, when it has become too much.
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        answer = b""
        try:
            for _ in range(100):
                raw.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        raw.settimeout(20)
        try:
            answer = raw.recv(1000)
        except ConnectionResetError:
            answer = b" 413 "
        assert b" 413 " in answer
    assert post(server, "/v1/completions", b'{"prompt": "x", "max_tokens": 1}')[0] == 200


def test_only_our_own_names_are_answered_on_loopback(server: Served) -> None:
    assert post(server, "/v1/completions", b'{"prompt": "x"}', Host="evil.example:80")[0] == 421
    assert post(server, "/v1/completions", b'{"prompt": "x", "max_tokens": 1}', Host="localhost")[0] == 200


def test_sixty_four_clients_stream_at_once(server: Served, model: Path) -> None:
    """Nothing is lost or mixed up: everybody gets what the prompt alone gives."""
    words = ["red", "green", "blue", "seven", "house", "river", "cloud", "stone"]
    prompts = [f"{words[i % 8]} and {words[i // 8]}" for i in range(64)]

    async def one(asynchronous: Any, prompt: str) -> tuple[str, int]:
        stream = await asynchronous.completions.create(
            model=NAME, prompt=prompt, max_tokens=16, temperature=0, stream=True,
            extra_body={"ignore_eos": True}, stream_options={"include_usage": True},
        )  # fmt: skip
        text, tokens = "", 0
        async for piece in stream:
            text += piece.choices[0].text if piece.choices else ""
            tokens = piece.usage.completion_tokens if piece.usage else tokens
        return text, tokens

    async def all_of(prompts: list[str]) -> list[tuple[str, int]]:
        how: dict[str, Any] = {"base_url": f"{server.url}/v1", "api_key": "none", "max_retries": 0, "timeout": 300}
        async with openai.AsyncOpenAI(**how) as asynchronous:
            return await asyncio.gather(*(one(asynchronous, prompt) for prompt in prompts))

    found = asyncio.run(all_of(prompts))
    assert [tokens for _, tokens in found] == [16] * 64
    for i in range(0, 64, 9):
        assert asyncio.run(all_of([prompts[i]])) == [found[i]]
    assert len({text for text, _ in found}) > 32


def test_clients_that_vanish_free_their_place(server: Served, client: Any) -> None:
    cancelled = metric(server, "vocabkit_cancelled")
    how = {"model": NAME, "prompt": "One", "max_tokens": 1000, "temperature": 1.0}
    streams = [client.completions.create(**how, stream=True, extra_body={"ignore_eos": True}) for _ in range(5)]
    for stream in streams:
        next(iter(stream))
        stream.close()
    # Those who wait for the whole answer, and hang up without a word.
    for _ in range(3):
        raw = socket.create_connection(("127.0.0.1", server.port), 30)
        body = json.dumps({"prompt": "One", "max_tokens": 1000, "ignore_eos": True}).encode()
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.3)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    wait_for(lambda: metric(server, "vocabkit_active") == 0)
    assert metric(server, "vocabkit_cancelled") >= cancelled + 8
    assert client.completions.create(model=NAME, prompt="One", max_tokens=2).usage.completion_tokens == 2


def test_a_slow_reader_loses_nothing_and_holds_up_nobody(server: Served, client: Any) -> None:
    body = json.dumps(
        {"prompt": "One", "max_tokens": 300, "temperature": 0, "stream": True, "ignore_eos": True}
    ).encode()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(60)
    raw.connect(("127.0.0.1", server.port))
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    time.sleep(1)
    began = time.monotonic()
    assert client.completions.create(model=NAME, prompt="Two", max_tokens=4).usage.completion_tokens == 4
    assert time.monotonic() - began < 20
    data = b""
    while part := raw.recv(2000):
        data += part
        time.sleep(0.002)
    raw.close()
    assert data.count(b'"text_completion"') >= 200
    assert b"data: [DONE]" in data


def test_more_than_may_wait_is_refused_and_counted(model: Path) -> None:
    with serving(model, "--max-batch", 1, "--max-waiting", 1, "--api-key", "secret") as served:
        with opened(served, "guess") as wrong, pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        own = opened(served, "secret")
        how = {"model": NAME, "prompt": "One", "max_tokens": 900, "extra_body": {"ignore_eos": True}}
        streams = [own.completions.create(**how, stream=True) for _ in range(2)]
        next(iter(streams[0]))
        with pytest.raises(openai.RateLimitError, match="wait already"):
            own.completions.create(**how)
        for stream in streams:
            stream.close()
        own.close()
        assert served.stop(signal.SIGTERM) == 0


def test_shutdown_lets_answers_finish(model: Path) -> None:
    with serving(model) as served:
        own = opened(served)
        stream = iter(own.completions.create(
            model=NAME, prompt="One", max_tokens=120, temperature=0, stream=True, extra_body={"ignore_eos": True}
        ))  # fmt: skip
        next(stream)
        served.process.send_signal(signal.SIGTERM)
        pieces = list(stream)
        assert pieces[-1].choices[0].finish_reason == "length"
        own.close()
        assert served.process.wait(60) == 0
    assert not [line for line in served.errors if "Traceback" in line], served.errors


def test_a_port_in_use_and_a_host_that_is_not_ours(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        failed = vocabkit("serve", model, "--port", taken.getsockname()[1], code=1).stderr
    assert "cannot be used (Address already in use); choose another --port" in failed
    assert len(failed.strip().splitlines()) == 1
    assert "--host" in vocabkit("serve", model, "--host", "no.such.host.invalid", "--port", 0, code=1).stderr


def test_vectors_come_in_base64_too(server: Served) -> None:
    body = json.dumps({"input": "One", "encoding_format": "base64"}).encode()
    _, found = post(server, "/v1/embeddings", body)
    vector = np.frombuffer(base64.b64decode(found["data"][0]["embedding"]), "<f4")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
