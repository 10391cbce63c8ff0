"""Queue, order, deletion, interruption."""

import uuid

from tests.support.served import Served, nonce
from tests.support.simulator import model_free, slow
from tests.support.waiting import until

LONG = 30  # seconds: interrupted long before


async def test_the_queue_shows_whole_items(server: Served):
    graph, extra = slow(LONG, nonce=nonce()), {"mine": 1}
    running = await server.submit(graph, extra_data=extra, client_id="me")
    await server.running(running)
    pending = await server.submit(model_free(nonce()))
    queue = (await server.get("/queue")).json
    (item,) = queue["queue_running"]
    assert item[1:3] == [running, graph]
    assert item[3]["mine"] == 1
    assert item[4:] == [["9"]]
    assert [entry[1] for entry in queue["queue_pending"]] == [pending]
    assert (await server.get("/prompt")).json == {"exec_info": {"queue_remaining": 2}}
    assert (await server.get(f"/history/{running}")).json == {}
    await server.post("/interrupt", {"prompt_id": running})
    await server.idle()


async def test_smaller_numbers_run_first_and_front_is_negative(server: Served):
    blocker = await server.submit(slow(LONG, nonce=nonce()))
    await server.running(blocker)
    names = {}
    wishes: dict[str, dict[str, float]] = {
        "late": {"number": 1_000_000},
        "plain": {},
        "front": {"front": True},
        "first": {"number": -1_000_000.5},
    }
    for name, more in wishes.items():
        names[await server.submit(model_free(nonce()), **more)] = name
    pending = (await server.get("/queue")).json["queue_pending"]
    assert [names[item[1]] for item in sorted(pending)] == ["first", "front", "plain", "late"]
    assert (await server.client.queue()).pending == tuple(item[1] for item in sorted(pending))
    await server.post("/interrupt")
    await server.idle()
    history = (await server.get("/history", params={"max_items": 4})).json
    assert [names[identity] for identity in history] == ["first", "front", "plain", "late"]


async def test_deleting_takes_pending_ones_only_and_leaves_no_trace(server: Served):
    running = await server.submit(slow(LONG, nonce=nonce()))
    await server.running(running)
    deleted, kept = await server.submit(model_free(nonce())), await server.submit(model_free(nonce()))
    answer = await server.post("/queue", {"delete": [deleted, "unknown", running]})
    assert (answer.status, answer.body) == (200, b"")
    snapshot = await server.client.queue()
    assert (snapshot.running, snapshot.pending) == ((running,), (kept,))
    await server.post("/interrupt", {"prompt_id": running})
    await server.idle()
    assert (await server.get(f"/history/{deleted}")).json == {}
    assert (await server.entry(running))["status"]["completed"] is False


async def test_deleting_takes_one_item_for_each_id(server: Served):
    running = await server.submit(slow(LONG, nonce=nonce()))
    await server.running(running)
    twice = str(uuid.uuid4())
    for _ in range(2):
        await server.submit(model_free(nonce()), prompt_id=twice)
    await server.post("/queue", {"delete": [twice]})
    assert (await server.client.queue()).pending == (twice,)
    await server.post("/queue", {"clear": True})
    assert (await server.client.queue()).pending == ()
    await server.post("/interrupt", {"prompt_id": running})
    await server.idle()


async def test_a_bad_body_for_the_queue_is_trouble(server: Served):
    assert (await server.ask("POST", "/queue", data="{bad")).status == 500


async def test_interrupting_another_id_does_nothing(server: Served):
    running = await server.submit(slow(0.5, nonce=nonce()))
    await server.running(running)
    answer = await server.post("/interrupt", {"prompt_id": str(uuid.uuid4())})
    assert (answer.status, answer.body) == (200, b"")
    assert (await server.entry(running))["status"]["status_str"] == "success"


async def test_interrupting_by_id(server: Served):
    running = await server.submit(slow(LONG, nonce=nonce()))
    await server.running(running)
    following = await server.submit(model_free(nonce()))
    assert (await server.post("/interrupt", {"prompt_id": running})).status == 200
    status = (await server.entry(running))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    event, data = status["messages"][-1]
    assert event == "execution_interrupted"
    assert data["prompt_id"] == running
    assert (data["node_id"], data["node_type"], data["executed"]) == ("5", "ProbeSleep", ["1"])
    assert (await server.entry(following))["status"]["completed"] is True


async def test_interrupting_without_a_body_stops_whatever_runs(server: Served):
    running = await server.submit(slow(LONG, nonce=nonce()))
    await server.running(running)
    answer = await server.ask("POST", "/interrupt")
    assert (answer.status, answer.body) == (200, b"")
    assert (await server.entry(running))["status"]["messages"][-1][0] == "execution_interrupted"


async def test_an_interruption_while_nothing_runs_has_no_later_effect(server: Served):
    await server.idle()
    await server.post("/interrupt")
    assert (await server.run(model_free(nonce())))["status"]["completed"] is True


async def test_a_node_that_never_looks_is_left_to_end_and_the_next_one_does_not_run(server: Served):
    running = await server.submit(slow(0.5, interruptible=False, nonce=nonce()))
    await server.running(running)
    await server.post("/interrupt", {"prompt_id": running})
    entry = await server.entry(running)
    event, data = entry["status"]["messages"][-1]
    assert event == "execution_interrupted"
    assert data["node_id"] == "9"
    assert entry["outputs"] == {}


async def test_a_job_is_in_the_queue_until_it_is_in_the_history(server: Served):
    identity = await server.submit(model_free(nonce()))

    async def found() -> bool:
        snapshot = await server.client.queue()
        if identity in snapshot.ids:
            return False
        assert await server.client.history(identity) is not None  # asked in this order, it is never in neither
        return True

    await until(found)
