"""Conversations that remember, and the terminal they are typed in."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from runs import vocabkit

from vocabkit.errors import VocabkitError
from vocabkit.infer.conversation import Conversation
from vocabkit.infer.load import Opening, open_engine
from vocabkit.infer.prompts import Prompts
from vocabkit.infer.sampling import Sampling

Small = Callable[..., Path]
# What a terminal is told when a line may be pasted: the prompt is there.
READY = "\x1b[?2004h"


@pytest.fixture
def talk(small: Small) -> Conversation:
    folder = small("llama", max_position_embeddings=512)
    engine = open_engine(folder, Opening(device="cpu"))
    return Conversation(engine, Prompts(folder, engine.tokenizer, "alpaca"), Sampling(12, ignore_eos=True))


def test_a_turn_reads_only_what_is_new(talk: Conversation) -> None:
    first = "".join(talk.reply("Tell me something about the river."))
    long = talk.read
    second = "".join(talk.reply("More."))
    whole = talk._prompts.conversation(talk.messages[:-1])
    # The answer itself was read while it was written; only the new turn is left.
    assert talk.read < len(whole) - long / 2
    assert [one["content"] for one in talk.messages[1::2]] == [first.strip(), second.strip()]
    talk.undo()
    again = "".join(talk.reply("More."))
    assert again == second


def test_an_answer_that_is_broken_off_stays_and_the_next_is_whole(talk: Conversation) -> None:
    reply = talk.reply("One")
    piece = next(reply)
    reply.close()
    assert talk.messages[-1] == {"role": "assistant", "content": piece.strip()}
    assert talk.wrote < 12
    assert "".join(talk.reply("Two"))
    assert talk.wrote == 12


def test_old_turns_are_left_out_when_the_context_is_full(talk: Conversation) -> None:
    for number in range(8):
        "".join(talk.reply(f"Question {number}: " + "word " * 40))
    assert talk.forgotten > 0
    assert len(talk.messages) == 16
    with pytest.raises(VocabkitError, match="the context holds 512"):
        "".join(talk.reply("word " * 600))
    assert len(talk.messages) == 16


def test_a_script_of_lines_and_commands(small: Small, tmp_path: Path) -> None:
    folder, saved = small("llama", max_position_embeddings=512), tmp_path / "talk.jsonl"
    lines = ["/system Be brief.", "你好", "/set temperature x", "/set top_k 5", "/retry", f"/save {saved}",
             "/nothing", "/undo", "/undo", "/quit", "never read"]  # fmt: skip
    with patch("sys.stdin", StringIO("\n".join(lines) + "\n")):
        done = vocabkit("chat", folder, "--template", "alpaca", "--temperature", 0, "--max-new-tokens", 6)
    half = len(done.stdout) // 2
    assert done.stdout[:half] == done.stdout[half:] != "\n"
    for said in ("Be brief.", "'x' is no number", "top_k is 5", "there is no command /nothing", "taken back",
                 "nothing was said yet"):  # fmt: skip
        assert said in done.stderr
    (record,) = [json.loads(line) for line in saved.read_text(encoding="utf-8").splitlines()]
    assert [one["role"] for one in record["messages"]] == ["system", "user", "assistant"]
    assert record["messages"][1]["content"] == "你好"


def test_chinese_is_typed_into_a_terminal(small: Small) -> None:
    folder = small("llama", max_position_embeddings=512)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "vocabkit", "chat", folder, "--template", "alpaca", "--device", "cpu",
               "--temperature", "0", "--max-new-tokens", "5"]  # fmt: skip
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True)
    os.close(theirs)
    seen = b""

    def until(text: str) -> None:
        nonlocal seen
        end = time.monotonic() + 120
        while text.encode() not in seen:
            assert time.monotonic() < end, seen.decode("utf-8", "replace")
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 4096)

    try:
        until(READY)
        # A word is typed, half of it taken back, and another one typed.
        os.write(ours, "你好吗\x7f世界\r".encode())
        until("你好世界")
        seen = b""
        until(READY)
        seen = b""
        os.write(ours, b"/undo\r")
        until("taken back")
        seen = seen.partition(b"taken back")[2]
        until(READY)
        os.write(ours, b"\x04")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
