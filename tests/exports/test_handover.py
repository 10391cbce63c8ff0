"""Two chunks wait at most, a reader may leave at any moment, and a writer hears of it at its next chunk."""

import asyncio

import pytest

from comfylabel.exports.handover import Handover, ReaderLeft


async def write(lines: Handover, chunks: int, error: Exception | None = None) -> int:
    written = 0
    try:
        for number in range(chunks):
            await lines.put(b"%d" % number)
            written += 1
    except ReaderLeft:
        return written
    await lines.end(error)
    return written


async def test_a_reader_gets_every_chunk_in_order():
    lines = Handover()
    writer = asyncio.create_task(write(lines, 5))
    await lines.begin()
    assert [chunk async for chunk in lines] == [b"0", b"1", b"2", b"3", b"4"]
    assert await writer == 5


async def test_nothing_to_say_is_an_empty_stream():
    lines = Handover()
    await asyncio.gather(write(lines, 0), lines.begin())
    assert [chunk async for chunk in lines] == []


async def test_an_error_before_the_first_chunk_is_raised_at_the_beginning():
    lines = Handover()
    writer = asyncio.create_task(write(lines, 0, OSError("away")))
    with pytest.raises(OSError, match="away"):
        await lines.begin()
    await writer


async def test_an_error_after_some_chunks_breaks_the_stream_off():
    lines = Handover()
    writer = asyncio.create_task(write(lines, 2, OSError("away")))
    await lines.begin()
    read = []
    with pytest.raises(OSError, match="away"):
        async for chunk in lines:
            read.append(chunk)  # noqa: PERF401 - what was read before the error counts
    assert read == [b"0", b"1"]
    await writer


@pytest.mark.parametrize("read_before", range(4))
async def test_a_writer_ends_when_its_reader_leaves(read_before: int):
    lines = Handover()
    writer = asyncio.create_task(write(lines, 1000))
    await lines.begin()
    for _ in range(read_before):
        await anext(lines)
    lines.leave()
    assert await writer < read_before + 5
    assert [chunk async for chunk in lines] in ([], [b"0"])


async def test_a_writer_never_runs_ahead_of_a_slow_reader():
    lines = Handover()
    writer = asyncio.create_task(write(lines, 1000))
    await lines.begin()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not writer.done()
    assert lines._chunks.qsize() == 2
    lines.leave()
    await writer
