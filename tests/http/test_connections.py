"""What a stranger can do with a bare socket before any request is whole."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from comfylabel.http import connections
from comfylabel.http.connections import MAX_HEAD_BYTES, PatientProtocol
from tests.support.waiting import until

GOOD = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n"
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(scope, receive, send) -> None:
    """Answers with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    answer = str(length).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def served() -> AsyncIterator[Connected]:
    """A connection to a server that speaks as ours does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(
            uvicorn.Config(echo, lifespan="off", log_config=None, http=PatientProtocol, timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
        try:
            yield reader, writer
        finally:
            writer.close()
            server.should_exit = True
            await serving


async def next_answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert head.startswith(b"HTTP/1.1 200"), head
    length = re.search(rb"content-length: (\d+)", head)
    assert length
    return await reader.readexactly(int(length[1]))


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET / HTTP/1.1\r\nx: ", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"x: " + b"a" * 995 + b"\r\n"),
    ],
    ids=["path", "one header", "many headers"],
)
async def test_a_head_without_end_is_cut_off(beginning: bytes, piece: bytes):
    async with served() as (reader, writer):
        writer.write(beginning)
        with suppress(ConnectionError):  # the server closes while we still send
            for _ in range(100 * MAX_HEAD_BYTES // len(piece)):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        assert await was_refused(reader)


async def was_refused(reader: asyncio.StreamReader) -> bool:
    try:
        return (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 400")
    except ConnectionError:
        return True


@pytest.mark.parametrize("before", [b"", GOOD], ids=["at first", "after a request"])
@pytest.mark.parametrize("said", [b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_who_does_not_end_a_request_is_sent_away(monkeypatch: pytest.MonkeyPatch, before: bytes, said: bytes):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with served() as (reader, writer):
        if before:
            writer.write(before)
            await next_answer(reader)
        writer.write(said)

        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with served() as (reader, _):
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_honest_requests_follow_each_other_on_one_connection(monkeypatch: pytest.MonkeyPatch):
    """Large heads and larger bodies, in pieces and pipelined: the limits are for one head, not for a connection."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 600.0)
    large_head = b"GET /x HTTP/1.1\r\nhost: x\r\ncookie: " + b"c" * (MAX_HEAD_BYTES - 500) + b"\r\n\r\n"
    body = b"b" * 300_000
    post = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + body
    async with served() as (reader, writer):
        for request, answer in (
            (GOOD, b"0"),
            (large_head, b"0"),
            (post, b"300000"),
            (large_head, b"0"),
            (post, b"300000"),
        ):
            for start in range(0, len(request), 10_000):
                writer.write(request[start : start + 10_000])
                await writer.drain()
            assert await next_answer(reader) == answer
        writer.write(GOOD * 3)
        assert [await next_answer(reader) for _ in range(3)] == [b"0"] * 3
        writer.write(post + GOOD)
        assert [await next_answer(reader) for _ in range(2)] == [b"300000", b"0"]


async def test_a_slow_body_is_not_cut(monkeypatch: pytest.MonkeyPatch):
    """The patience is for heads: nothing but the guard knows how long a body may take."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with served() as (reader, writer):
        writer.write(b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        silent, its_writer = await asyncio.open_connection(*writer.get_extra_info("peername"))
        assert await asyncio.wait_for(silent.read(), 30) == b""  # so long a time has passed now
        its_writer.close()
        writer.write(b"ab")

        assert await next_answer(reader) == b"2"
