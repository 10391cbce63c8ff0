"""GET /ws: who hears what, in which order."""

import struct
import uuid

from tests.support.served import Served, nonce
from tests.support.simulator import failing, model_free, node, slow

IDLE = {"exec_info": {"queue_remaining": 0}}
STEP = ("progress_state", "executing", "progress_state")


def fresh() -> str:
    return uuid.uuid4().hex


async def test_the_first_frame_greets(server: Served):
    await server.idle()
    async with server.socket("somebody") as socket:
        kind, data = await socket.next()
    assert (kind, data) == ("status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "somebody"})


async def test_frames_of_ones_own_submission(server: Served):
    client_id, graph = fresh(), model_free(nonce())
    async with server.socket(client_id) as socket:
        await socket.next()
        identity = await server.submit(graph, client_id=client_id)
        frames = await socket.job(identity)
    kinds = [kind for kind, _ in frames if kind != "status"]
    assert kinds == [
        *("execution_start", "execution_cached", *STEP),
        *("progress_state", "executing", "executed", "progress_state", "execution_success", "executing"),
    ]
    data = dict(frames)
    (image,) = data["executed"]["output"]["images"]
    assert data["executed"] == {
        "node": "9",
        "display_node": "9",
        "output": {"images": [image]},
        "prompt_id": identity,
    }
    nodes = data["progress_state"]["nodes"]
    assert {name: state["state"] for name, state in nodes.items()} == {"1": "finished", "9": "finished"}


async def test_the_history_is_there_when_the_last_frame_arrives(server: Served):
    client_id = fresh()
    async with server.socket(client_id) as socket:
        for _ in range(5):
            identity = await server.submit(model_free(nonce()), client_id=client_id)
            await socket.job(identity)
            assert identity in (await server.get(f"/history/{identity}")).json


async def test_cached_nodes_are_shown_but_not_run(server: Served):
    client_id, graph = fresh(), model_free(nonce())
    await server.run(graph)
    async with server.socket(client_id) as socket:
        await socket.next()
        frames = await socket.job(await server.submit(graph, client_id=client_id))
    kinds = [kind for kind, _ in frames if kind != "status"]
    assert kinds == [
        *("execution_start", "execution_cached", "executed", "progress_state", "execution_success", "executing"),
    ]


async def test_others_hear_only_the_length_of_the_queue(server: Served):
    async with server.socket(fresh()) as socket:
        await socket.next()
        identity = await server.submit(model_free(nonce()), client_id=fresh())
        await server.entry(identity)
        await server.idle()
        frames = await socket.until(lambda _, data: data == {"status": IDLE})
    assert {kind for kind, _ in frames} == {"status"}


async def test_progress_of_a_submission_without_a_client_is_told_to_all(server: Served):
    async with server.socket(fresh()) as socket:
        await socket.next()
        identity = await server.submit(model_free(nonce()))
        await server.entry(identity)
        frames = await socket.until(lambda _, data: data == {"status": IDLE})
    assert {kind for kind, _ in frames} == {"status", "progress_state"}
    assert all(data["prompt_id"] == identity for kind, data in frames if kind == "progress_state")


async def test_steps_of_a_slow_node(server: Served):
    client_id = fresh()
    async with server.socket(client_id) as socket:
        identity = await server.submit(slow(0.4, nonce=nonce()), client_id=client_id)
        frames = await socket.job(identity)
    steps = [data for kind, data in frames if kind == "progress"]
    assert steps[-1] == {"value": 4, "max": 4, "prompt_id": identity, "node": "5"}


async def test_a_failure_is_told_to_its_owner(server: Served):
    client_id = fresh()
    async with server.socket(client_id) as socket:
        identity = await server.submit(failing("value_error", nonce=nonce()), client_id=client_id)
        frames = await socket.job(identity)
    (data,) = [data for kind, data in frames if kind == "execution_error"]
    assert (data["prompt_id"], data["node_id"], data["exception_type"]) == (identity, "5", "ValueError")


async def test_an_interruption_without_an_owner_is_told_to_all(server: Served):
    async with server.socket(fresh()) as socket:
        identity = await server.submit(slow(30, nonce=nonce()))
        await server.running(identity)
        await server.post("/interrupt", {"prompt_id": identity})
        frames = await socket.until(lambda kind, _: kind == "execution_interrupted")
    assert frames[-1][1]["prompt_id"] == identity


async def test_pictures_for_the_socket_only(server: Served):
    client_id = fresh()
    graph = {
        "1": model_free(nonce(), batch_size=2)["1"],
        "11": node("SaveImageWebsocket", images=["1", 0]),
    }
    async with server.socket(client_id) as socket:
        identity = await server.submit(graph, client_id=client_id)
        frames = await socket.job(identity)
    binaries = [data for kind, data in frames if kind == "binary"]
    assert len(binaries) == 2
    for frame in binaries:
        event, image_format = struct.unpack(">II", frame[:8])
        assert (event, image_format) == (1, 2)
        assert frame[8:16] == b"\x89PNG\r\n\x1a\n"
    assert (await server.entry(identity))["outputs"] == {}


async def test_a_closing_socket_silences_the_newer_one_of_the_same_client(server: Served):
    client_id = fresh()
    async with server.socket(client_id) as newer_later:
        await newer_later.next()
        async with server.socket(client_id) as newer:
            await newer.next()
            await newer_later.connection.close()

            async def listed() -> list[str]:
                identity = await server.submit(model_free(nonce()), client_id=client_id)
                await server.entry(identity)
                return [identity]

            silent = await listed()
            await server.idle()
            # A ping is answered after everything that was sent before it.
            await newer.connection.send_json({"type": "nothing"})
            await newer.connection.close()
            assert silent
            frames = [message.data async for message in newer.connection]
    assert not any(silent[0] in str(frame) for frame in frames)


async def test_features_are_told_on_request(server: Served):
    async with server.socket(fresh()) as socket:
        await socket.connection.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        frames = await socket.until(lambda kind, _: kind == "feature_flags")
    assert frames[-1][1]["supports_preview_metadata"] is True


async def test_who_comes_back_is_told_where_the_job_is(server: Served):
    client_id = fresh()
    async with server.socket(client_id) as first:
        identity = await server.submit(slow(30, nonce=nonce()), client_id=client_id)
        await first.until(lambda kind, data: kind == "executing" and data["node"] == "5")
    async with server.socket(client_id) as second:
        frames = await second.until(lambda kind, _: kind == "executing")
        await server.post("/interrupt", {"prompt_id": identity})
    assert frames[-1][1] == {"node": "5"}
    await server.idle()


async def test_the_client_hears_what_happens(server: Served):
    client_id, kinds = fresh(), []
    events = server.client.listen(client_id)
    assert (await anext(events)).kind == "status"
    identity = await server.submit(model_free(nonce()), client_id=client_id)
    async for event in events:
        if event.submission_id == identity:
            kinds.append(event.kind)
            if event.is_over:
                break
    await events.aclose()
    assert kinds[0] == "execution_start"
    assert kinds[-2:] == ["execution_success", "executing"]
    assert kinds.count("executing") == 1  # the last one; which node is at work is read by nobody
