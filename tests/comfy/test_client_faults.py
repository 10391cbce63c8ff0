"""The client against a worker, or something in front of it, that does what it should not."""

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from comfylabel.comfy.client import ComfyClient, Timeouts
from comfylabel.comfy.errors import (
    SubmissionRefused,
    SubmissionUnclear,
    WorkerError,
    WorkerMisbehaved,
    WorkerUnreachable,
)
from comfylabel.comfy.schemas import OutputImage
from comfylabel.comfy.simulator import Simulator, running_simulator
from tests.support.hostile_worker import hostile_worker
from tests.support.served import Served, nonce
from tests.support.simulator import model_free, node, slow, text_to_image
from tests.support.waiting import until

IMPATIENT = Timeouts(
    connect=5, system_stats=0.2, queue=0.2, history=0.2, submit=0.3, control=0.2, object_info=0.2, image=5
)

Call = Callable[[ComfyClient], Awaitable[Any]]
READS: dict[str, Call] = {
    "system_stats": lambda client: client.system_stats(),
    "queue": lambda client: client.queue(),
    "history": lambda client: client.history("an id"),
    "object_info": lambda client: client.object_info("KSampler"),
    "view": lambda client: fetch(client, OutputImage("x.png")),
}
CONTROLS: dict[str, Call] = {
    "delete_queued": lambda client: client.delete_queued(["an id"]),
    "free": lambda client: client.free(),
}


async def fetch(client: ComfyClient, image: OutputImage) -> bytes:
    return b"".join([chunk async for chunk in client.view(image)])


async def listen(client: ComfyClient) -> None:
    async for _ in client.listen("somebody"):
        pass


async def submit(client: ComfyClient) -> None:
    await client.submit(model_free(), str(uuid.uuid4()))


async def made(simulator: Simulator, session: aiohttp.ClientSession) -> OutputImage:
    """A picture that is there to be fetched."""
    served = Served(simulator.url, session, lambda _: None)
    entry = await served.run(model_free(nonce()))
    return OutputImage.from_json(entry["outputs"]["9"]["images"][0])


@pytest.mark.parametrize("call", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("proxy", "kind", "words"),
    [
        ("html", "protocol", "text/html"),
        ("wrong_type", "protocol", "application/octet-stream"),
        ("redirect", "protocol", "redirects are not followed"),
        ("404", "protocol", "404"),
        ("401", "proxy_auth", "API key"),
        ("403", "proxy_auth", "API key"),
        ("407", "proxy_auth", "API key"),
        ("413", "too_large", "413"),
        ("502", "network", "502"),
        ("503", "network", "503"),
    ],
)
async def test_a_read_says_what_stands_in_the_way(simulator, session, call: Call, *, proxy: str, kind: str, words: str):
    simulator.faults.proxy = proxy
    with pytest.raises(WorkerMisbehaved) as caught:
        await call(ComfyClient(session, simulator.url))
    assert caught.value.kind == kind
    assert words in caught.value.message
    assert simulator.url in caught.value.message
    assert (caught.value.status, caught.value.code) == (502, "worker_error")


@pytest.mark.parametrize("call", CONTROLS.values(), ids=CONTROLS)
@pytest.mark.parametrize(("proxy", "kind"), [("redirect", "protocol"), ("401", "proxy_auth"), ("502", "network")])
async def test_a_control_request_does_too(simulator, session, call: Call, proxy: str, kind: str):
    simulator.faults.proxy = proxy
    with pytest.raises(WorkerMisbehaved) as caught:
        await call(ComfyClient(session, simulator.url))
    assert caught.value.kind == kind


async def test_a_redirect_is_not_followed(simulator, session):
    simulator.faults.proxy, simulator.faults.proxy_paths = "redirect", ("/queue", "/prompt", "/ws")
    client = ComfyClient(session, simulator.url)
    for call in (client.queue(), client.submit(model_free(), str(uuid.uuid4())), listen(client)):
        with pytest.raises(WorkerMisbehaved) as caught:
            await call
        assert (caught.value.kind, caught.value.http_status) == ("protocol", 302)
    assert "/system_stats" not in [path for _, path in simulator.requests]  # where the redirect leads


@pytest.mark.parametrize("call", READS.values(), ids=READS)
async def test_no_answer_in_time(simulator, session, call: Call):
    simulator.faults.proxy = "silent"
    impatient = Timeouts(**dict.fromkeys(Timeouts.__slots__, 0.1))
    with pytest.raises(WorkerUnreachable) as caught:
        await call(ComfyClient(session, simulator.url, timeouts=impatient))
    assert caught.value.message.startswith(f"No answer from {simulator.url}/")
    assert "within 0.1 s" in caught.value.message


async def test_nobody_listens(session):
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        client = ComfyClient(session, f"http://127.0.0.1:{taken.getsockname()[1]}")
        for call in (*READS.values(), *CONTROLS.values(), listen):
            with pytest.raises(WorkerUnreachable) as caught:
                await call(client)
            assert caught.value.message.endswith(": Connection refused.")
        with pytest.raises(WorkerUnreachable, match=r"Connection refused\.$"):
            await client.submit(model_free(), str(uuid.uuid4()))


async def test_a_name_that_leads_nowhere(session):
    with pytest.raises(WorkerUnreachable, match=r": The name nowhere\.invalid leads to no address\.$"):
        await ComfyClient(session, "http://nowhere.invalid:8188").queue()


@pytest.mark.parametrize(
    ("call", "limit"),
    [("system_stats", 1), ("queue", 32), ("history", 16), ("object_info", 32)],
)
async def test_two_gigabytes_of_json_are_not_read(session, call: str, limit: int):
    async with running_simulator() as simulator:
        simulator.faults.proxy = "huge_json"
        patient = Timeouts(**dict.fromkeys(Timeouts.__slots__, 60))
        with pytest.raises(WorkerMisbehaved) as caught:
            await READS[call](ComfyClient(session, simulator.url, timeouts=patient))
        assert caught.value.kind == "too_large"
        assert f"{limit} MiB" in caught.value.message


async def test_json_that_would_fill_the_memory_is_not_unpacked(session):
    """9 MB of it, within the limit of a queue: 4 million lists of 56 bytes, and as many pointers to them."""
    lists = "[],[" * 2_200_000
    async with hostile_worker({"/queue": f'{{"queue_running": [{lists}'}) as url:
        with pytest.raises(WorkerMisbehaved) as caught:
            await ComfyClient(session, url, timeouts=Timeouts(queue=60)).queue()
    assert caught.value.kind == "too_large"
    assert "3 million values" in caught.value.message


async def test_two_gigabytes_of_picture_are_not_read(simulator, session):
    image = await made(simulator, session)
    simulator.faults.endless_images = 1
    received = 0
    with pytest.raises(WorkerMisbehaved) as caught:
        async for chunk in ComfyClient(session, simulator.url, max_image_bytes=2**20).view(image):
            received += len(chunk)
    assert caught.value.kind == "too_large"
    assert received <= 2**20


async def test_a_picture_that_announces_too_much_is_not_begun(simulator, session):
    image = await made(simulator, session)
    chunks = ComfyClient(session, simulator.url, max_image_bytes=10).view(image)
    with pytest.raises(WorkerMisbehaved) as caught:
        await anext(chunks)
    assert caught.value.kind == "too_large"


async def test_a_picture_that_ends_in_the_middle(simulator, session):
    image = await made(simulator, session)
    simulator.faults.cut_images = 1
    client = ComfyClient(session, simulator.url)
    with pytest.raises(WorkerMisbehaved) as caught:
        await fetch(client, image)
    assert caught.value.kind == "network"
    assert (await fetch(client, image)).endswith(b"IEND\xaeB`\x82")


async def test_a_picture_that_is_not_there_any_more(simulator, session):
    image = await made(simulator, session)
    simulator.folders.delete(image.filename, image.subfolder)
    with pytest.raises(WorkerMisbehaved) as caught:
        await fetch(ComfyClient(session, simulator.url), image)
    assert caught.value.http_status == 404


async def test_a_slow_picture_is_given_up(simulator, session):
    image = await made(simulator, session)
    simulator.faults.slow_image_seconds = 3600
    with pytest.raises(WorkerUnreachable):
        await fetch(ComfyClient(session, simulator.url, timeouts=Timeouts(image=0.2)), image)


@pytest.mark.parametrize(
    ("fault", "queued"),
    [("queued_but_500", 1), ("queued_but_cut", 1), ("queued_but_silent", 1), ("refused_500", 0)],
)
async def test_a_submission_without_a_proper_answer_is_unclear(simulator, session, fault: str, queued: int):
    setattr(simulator.faults, fault, 1)
    client = ComfyClient(session, simulator.url, timeouts=IMPATIENT)
    with pytest.raises(SubmissionUnclear):
        await client.submit(model_free(), str(uuid.uuid4()))
    await until(lambda: len(simulator.log) == queued)  # the client may have lost its patience first


@pytest.mark.parametrize("proxy", ["502", "504", "html", "wrong_type", "silent", "huge_json"])
async def test_a_submission_through_a_proxy_in_trouble_is_unclear(simulator, session, proxy: str):
    simulator.faults.proxy = proxy
    with pytest.raises(SubmissionUnclear):
        await ComfyClient(session, simulator.url, timeouts=IMPATIENT).submit(model_free(), str(uuid.uuid4()))


@pytest.mark.parametrize(
    ("proxy", "kind"), [("401", "proxy_auth"), ("403", "proxy_auth"), ("413", "too_large"), ("404", "protocol")]
)
async def test_a_submission_that_a_proxy_turned_away_was_not_queued(simulator, session, proxy: str, kind: str):
    simulator.faults.proxy = proxy
    with pytest.raises(WorkerMisbehaved) as caught:
        await ComfyClient(session, simulator.url).submit(model_free(), str(uuid.uuid4()))
    assert caught.value.kind == kind
    assert simulator.log == []


async def test_an_id_that_the_worker_does_not_take(simulator, session):
    with pytest.raises(SubmissionRefused) as caught:
        await ComfyClient(session, simulator.url).submit(model_free(), "not a uuid")
    assert caught.value.reason == "bad_id"


async def test_half_a_graph_is_taken_back(simulator, session):
    """While another job runs, so that it is still in the queue."""
    simulator.faults.hold_jobs = True
    client, identity = ComfyClient(session, simulator.url), str(uuid.uuid4())
    await client.submit(model_free(1), str(uuid.uuid4()))
    broken = {"5": node("EmptyImage", width=0, height=64, batch_size=1, color=0)}
    graph = model_free(2) | broken | {"10": node("SaveImage", images=["5", 0], filename_prefix="x")}
    with pytest.raises(SubmissionRefused):
        await client.submit(graph, identity)
    assert identity not in (await client.queue()).ids
    simulator.faults.hold_jobs = False


async def test_half_a_graph_that_runs_already_is_interrupted(simulator, session):
    simulator.faults.hold_jobs = True
    identity = str(uuid.uuid4())
    broken = {"5": node("EmptyImage", width=0, height=64, batch_size=1, color=0)}
    graph = model_free(2) | broken | {"10": node("SaveImage", images=["5", 0], filename_prefix="x")}
    with pytest.raises(SubmissionRefused):
        await ComfyClient(session, simulator.url).submit(graph, identity)
    await until(lambda: simulator.log[0].outcome in {"interrupted", None} and simulator.queue.remaining == 0)


async def test_a_worker_that_dies_between_refusing_and_taking_back(simulator, session):
    simulator.faults.proxy, simulator.faults.proxy_paths = "502", ("/queue", "/interrupt", "/api")
    broken = {"5": node("EmptyImage", width=0, height=64, batch_size=1, color=0)}
    graph = model_free(2) | broken | {"10": node("SaveImage", images=["5", 0], filename_prefix="x")}
    with pytest.raises(SubmissionRefused):
        await ComfyClient(session, simulator.url).submit(graph, str(uuid.uuid4()))


@pytest.mark.parametrize(
    ("version", "interrupted", "path"),
    [
        ("0.3.56", False, None),
        ("0.3.57", True, "/interrupt"),
        ("0.3.75", True, "/interrupt"),
        ("0.25.9", True, "/interrupt"),
        ("0.28.1", True, "/api/jobs/{}/cancel"),
    ],
)
async def test_only_ones_own_job_is_ever_interrupted(session, version: str, interrupted: bool, path: str | None):
    async with running_simulator(version=version) as simulator:
        client, own = ComfyClient(session, simulator.url), str(uuid.uuid4())
        await client.submit(slow(30), own)
        await until(lambda: simulator.executor.current)
        assert await client.interrupt(own) is interrupted
        posts = [asked for method, asked in simulator.requests if method == "POST" and asked != "/prompt"]
        assert posts == ([path.format(own)] if path else [])
        if interrupted:
            await until(lambda: simulator.log[0].outcome == "interrupted")
        else:
            assert simulator.executor.current is not None


@pytest.mark.parametrize("version", ["0.3.56", "0.3.57", "0.28.1", "of my own"])
async def test_a_stranger_s_job_is_left_alone(session, version: str):
    async with running_simulator(version=version) as simulator:
        client, foreign, own = ComfyClient(session, simulator.url), str(uuid.uuid4()), str(uuid.uuid4())
        simulator.faults.hold_jobs = True
        await client.submit(model_free(1), foreign)
        await until(lambda: simulator.executor.current)
        await client.interrupt(own)
        simulator.faults.hold_jobs = False
        await until(lambda: simulator.log[0].outcome)
        assert simulator.log[0].outcome == "success"


async def test_a_proxy_that_lets_only_the_classic_paths_through(simulator, session):
    simulator.faults.proxy, simulator.faults.proxy_paths = "404", ("/api/",)
    client, own = ComfyClient(session, simulator.url), str(uuid.uuid4())
    await client.submit(slow(30), own)
    await until(lambda: simulator.executor.current)
    assert await client.interrupt(own) is True
    await until(lambda: simulator.log[0].outcome == "interrupted")


async def test_the_key_is_sent_with_every_request_and_the_handshake(session):
    async with running_simulator(api_key="sesame") as simulator:
        client = ComfyClient(session, simulator.url, api_key="sesame")
        events = client.listen("somebody")
        assert (await anext(events)).kind == "status"
        await events.aclose()
        await client.submit(model_free(), str(uuid.uuid4()))
        await client.free()
        image = OutputImage("free_00001_.png", "tests")
        await until(lambda: simulator.log[0].outcome)
        assert await fetch(client, image)


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_the_key_nothing_works_and_the_words_do_not_tell_it(session, key: str | None):
    async with running_simulator(api_key="sesame") as simulator:
        client = ComfyClient(session, simulator.url, api_key=key)
        calls = [*READS.values(), *CONTROLS.values(), listen]
        for call in (*calls, submit):
            with pytest.raises(WorkerMisbehaved) as caught:
                await call(client)
            assert caught.value.kind == "proxy_auth"
            assert key is None or key not in caught.value.message


async def test_passwords_in_an_address_are_not_repeated(session):
    with pytest.raises(WorkerUnreachable) as caught:
        await ComfyClient(session, "http://me:secret@127.0.0.1:9").queue()
    assert "secret" not in caught.value.message


async def test_listening_ends_with_the_socket(simulator, session):
    events = ComfyClient(session, simulator.url).listen("somebody")
    await anext(events)
    await simulator.sockets.close_all()
    assert [event async for event in events] == []


async def test_listening_passes_over_what_is_no_event(simulator, session):
    events = ComfyClient(session, simulator.url).listen("somebody")
    await anext(events)
    simulator.sockets.send_png(b"\x89PNG", None)
    simulator.sockets.send_text("not json")
    simulator.sockets.send_text('["no", "event"]')
    simulator.sockets.send("progress", {"prompt_id": "x"})  # the course of a job: read by nobody
    simulator.sockets.send("executing", {"node": "3", "display_node": "3", "prompt_id": "x"})
    simulator.sockets.send("execution_start", {"prompt_id": "x"})
    simulator.sockets.send("executing", {"node": None, "prompt_id": "x"})
    heard = [await anext(events), await anext(events)]
    assert [(event.kind, event.submission_id) for event in heard] == [("execution_start", "x"), ("executing", "x")]
    assert heard[-1].is_over
    await events.aclose()


async def test_a_base_url_may_have_a_path(simulator, session):
    client = ComfyClient(session, f"{simulator.url}/api/")
    assert (await client.system_stats()).version == "0.28.1"
    assert simulator.requests[-1] == ("GET", "/api/system_stats")


async def test_names_with_odd_characters_reach_the_worker_whole(simulator, session):
    client = ComfyClient(session, simulator.url)
    assert await client.object_info("Étrange % node?x=1#y") == {}
    assert await client.history("weird id/../?") is None


async def test_answers_with_nan_are_read(simulator, session):
    """A graph of somebody else's may hold what only Python's json writes."""
    client, identity = ComfyClient(session, simulator.url), str(uuid.uuid4())
    graph = text_to_image()
    graph["3"]["inputs"]["cfg"] = float("nan")
    graph["6"]["inputs"]["text"] = "lone \ud800 surrogate"
    async with session.post(f"{simulator.url}/prompt", json={"prompt": graph, "prompt_id": identity}) as answer:
        assert answer.status == 200
    await until(lambda: simulator.log[0].outcome)
    entry = await client.history(identity)
    assert entry is not None
    assert entry.outcome == "success"


async def test_a_large_queue_is_parsed_beside_the_event_loop(simulator, session):
    simulator.faults.hold_jobs = True
    client = ComfyClient(session, simulator.url)
    ids = [str(uuid.uuid4()) for _ in range(40)]
    for place, identity in enumerate(ids):
        await client.submit(text_to_image("long " * 2000, place), identity)
    await until(lambda: simulator.executor.current)
    snapshot = await client.queue()
    assert snapshot.running + snapshot.pending == tuple(ids)
    simulator.faults.hold_jobs = False


async def test_cancelling_a_request_is_no_worker_error(simulator, session):
    simulator.faults.proxy = "silent"
    request = asyncio.create_task(ComfyClient(session, simulator.url).system_stats())
    await until(lambda: simulator.requests)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


def test_every_error_is_a_worker_error():
    for error in (WorkerUnreachable, SubmissionUnclear, WorkerMisbehaved, SubmissionRefused):
        assert issubclass(error, WorkerError)
