"""What a listener is told, however slowly it reads."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.errors import TooManyRequests
from comfylabel.http.sse import Doors, Event, Mailbox

keys = st.sampled_from("abc")


async def told(mailbox: Mailbox) -> list[bytes]:
    return [event async for event in mailbox.events()]


@given(st.lists(st.tuples(keys, st.integers()), min_size=1, max_size=30))
def test_a_slow_reader_is_told_the_newest_of_each_and_never_a_backlog(changes):
    async def read() -> tuple[dict[str, Event], list[bytes]]:
        mailbox, newest = Mailbox(uuid4()), {}
        for key, value in changes:
            newest[key] = Event.of("thing", f'{{"{key}":{value}}}'.encode())
            mailbox.put(key, newest[key])
        events = mailbox.events()
        return newest, [await anext(events) for _ in newest]

    newest, came = asyncio.run(read())

    assert sorted(came) == sorted(event.encoded for event in newest.values())


async def test_a_closed_mailbox_ends_at_once():
    mailbox = Mailbox(uuid4())
    mailbox.put("a", Event.of("thing", b"1"))
    reading = asyncio.create_task(told(Mailbox(uuid4())))
    mailbox.close()

    assert await told(mailbox) == []
    reading.cancel()


async def test_a_reader_that_waits_is_woken_by_the_end():
    mailbox = Mailbox(uuid4())
    reading = asyncio.create_task(told(mailbox))
    await asyncio.sleep(0)
    mailbox.close()

    assert await reading == []


def test_an_event_is_one_block_with_an_id_of_its_own():
    first, second = Event.of("task", b'{"a":1}'), Event.of("task", b'{"a":1}')
    name, kind, data, *end = first.encoded.decode().split("\n")
    assert (kind, data, end) == ("event: task", 'data: {"a":1}', ["", ""])
    assert name.startswith("id: ")
    assert first.encoded != second.encoded


def test_nobody_opens_more_than_their_share():
    doors, ann, bob = Doors(2), uuid4(), uuid4()
    doors.enter(ann)
    doors.enter(ann)
    doors.enter(bob)
    with pytest.raises(TooManyRequests):
        doors.enter(ann)
    doors.leave(ann)
    doors.enter(ann)
