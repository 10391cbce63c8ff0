"""Each fault that can be switched on, and that it strikes as often as told."""

import asyncio
import uuid
from typing import Any

import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.client import ComfyClient, Timeouts
from comfylabel.comfy.errors import SubmissionRefused, WorkerUnreachable
from comfylabel.comfy.simulator import Faults, Simulator, parse_faults, running_simulator
from tests.support.served import Served
from tests.support.simulator import model_free, read_caption, slow, text_to_image
from tests.support.waiting import until


@pytest.fixture
def served(simulator, session) -> Served:
    return Served(simulator.url, session, lambda _: None)


def last_message(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    event, data = entry["status"]["messages"][-1]
    return event, data


@given(st.integers(0, 5))
def test_a_fault_strikes_as_often_as_told(count: int):
    faults = Faults(truncated_images=count)
    assert [faults.take("truncated_images") for _ in range(7)] == [True] * count + [False] * (7 - count)


def test_a_fault_without_an_end():
    faults = Faults(truncated_images=-1)
    assert all(faults.take("truncated_images") for _ in range(5))


def test_faults_in_words():
    text = "out_of_memory_above=600000, truncated_images=2,stuck,missing_nodes=A+B,proxy=502,history_gap=0.5,cut_images"
    faults = parse_faults(text)
    assert faults == Faults(
        out_of_memory_above=600000,
        truncated_images=2,
        stuck=True,
        missing_nodes={"A", "B"},
        proxy="502",
        history_gap=0.5,
        cut_images=1,
    )
    assert parse_faults("") == Faults()


@pytest.mark.parametrize("text", ["nosuch", "truncated_images=many", "out_of_memory_above=x"])
def test_faults_that_do_not_exist(text: str):
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        parse_faults(text)


async def test_more_pixels_than_fit(served, simulator):
    simulator.faults.out_of_memory_above = 64 * 64 * 2
    event, data = last_message(await served.run(text_to_image(batch_size=3)))
    assert (event, data["exception_type"]) == ("execution_error", "torch.OutOfMemoryError")
    assert (data["node_id"], data["node_type"]) == ("3", "KSampler")
    assert simulator.log[0].batch_size == 3
    assert last_message(await served.run(text_to_image(batch_size=2)))[0] == "execution_success"


async def test_memory_of_the_worker(session):
    async with running_simulator(vram_gb=2) as simulator:
        served = Served(simulator.url, session, lambda _: None)
        fits = await served.run(text_to_image(width=1024, height=1024))
        assert last_message(fits)[0] == "execution_success"
        larger = await served.run(text_to_image(width=1024, height=1032))
        assert last_message(larger)[0] == "execution_error"


async def test_out_of_memory_in_other_words(served, simulator):
    simulator.faults.out_of_memory_above, simulator.faults.accelerator_oom = 1, True
    _, data = last_message(await served.run(text_to_image()))
    assert data["exception_type"] == "torch.AcceleratorError"
    entry = await served.client.history(simulator.log[0].id)
    assert entry is not None
    assert entry.error is not None
    assert entry.error.out_of_memory


async def test_failing_samplers(served, simulator):
    simulator.faults.execution_errors = 1
    assert last_message(await served.run(text_to_image()))[1]["exception_type"] == "RuntimeError"
    assert last_message(await served.run(text_to_image()))[0] == "execution_success"


async def test_a_held_job_ends_when_it_is_let_go(served, simulator):
    simulator.faults.hold_jobs = True
    identity = await served.submit(model_free())
    await served.running(identity)
    assert (await served.get(f"/history/{identity}")).json == {}
    simulator.faults.hold_jobs = False
    assert last_message(await served.entry(identity))[0] == "execution_success"


async def test_a_held_job_can_be_interrupted(served, simulator):
    simulator.faults.hold_jobs = True
    identity = await served.submit(model_free())
    await served.running(identity)
    await served.post("/interrupt", {"prompt_id": identity})
    assert last_message(await served.entry(identity))[0] == "execution_interrupted"


async def test_a_stuck_job_stays_whatever_one_does(served, simulator):
    simulator.faults.stuck = True
    identity = await served.submit(model_free())
    await served.running(identity)
    following = await served.submit(model_free(1))
    await served.post("/interrupt", {"prompt_id": identity})
    await served.post("/queue", {"delete": [identity]})
    snapshot = await served.client.queue()
    assert (snapshot.running, snapshot.pending) == ((identity,), (following,))
    await simulator.restart()
    assert (await served.client.queue()).ids == frozenset()
    assert last_message(await served.run(model_free(2)))[0] == "execution_success"


async def test_a_gap_between_success_and_history(served, simulator):
    simulator.faults.history_gap = 3600
    async with served.socket("me") as socket:
        identity = await served.submit(model_free(), client_id="me")
        await socket.until(lambda kind, _: kind == "execution_success")
        assert (await served.get(f"/history/{identity}")).json == {}
        assert (await served.client.queue()).running == (identity,)


@pytest.mark.parametrize("way", ["restart", "crash"])
async def test_a_restart_forgets_everything_but_its_disk(served, simulator, way: str):
    done = await served.submit(model_free())
    (image,) = (await served.entry(done))["outputs"]["9"]["images"]
    simulator.faults.hold_jobs = True
    running, pending = await served.submit(model_free(1)), await served.submit(model_free(2))
    await served.running(running)
    url = simulator.url
    await getattr(simulator, way)()
    simulator.faults.hold_jobs = False
    assert simulator.url == url
    assert (await served.client.queue()).ids == frozenset()
    for identity in (done, running, pending):
        assert (await served.get(f"/history/{identity}")).json == {}
    assert (await served.get("/view", params=image)).status == 200
    assert (await served.prompt(model_free(3))).json["number"] == 0
    assert [entry.outcome for entry in simulator.log[:3]] == ["success", None, None]


async def test_a_worker_that_is_away(served, simulator):
    await simulator.stop()
    with pytest.raises(WorkerUnreachable):
        await served.client.queue()
    await simulator.start()
    assert (await served.client.queue()).ids == frozenset()


async def test_missing_nodes_and_models(served, simulator):
    simulator.faults.missing_nodes.add("LatentBatchSeedBehavior")
    simulator.faults.missing_models.add("tiny-random-fp16.safetensors")
    described = await served.client.object_info()
    assert "LatentBatchSeedBehavior" not in described
    names = described["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    assert "tiny-random-fp16.safetensors" not in names
    for graph, reason in ((text_to_image(behavior="random"), "missing_node"), (text_to_image(), "missing_model")):
        with pytest.raises(SubmissionRefused) as caught:
            await served.client.submit(graph, str(uuid.uuid4()))
        assert caught.value.reason == reason


async def test_a_worker_with_models_of_its_own(session):
    async with running_simulator(files={"checkpoints": ["mine.safetensors"]}, missing_nodes=["SaveImage"]) as simulator:
        client = ComfyClient(session, simulator.url)
        described = await client.object_info("CheckpointLoaderSimple")
        spec = described["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
        assert spec[0] == ["mine.safetensors"]
        assert await client.object_info("SaveImage") == {}


async def test_slow_object_info(session, simulator):
    simulator.faults.slow_object_info_seconds = 3600
    with pytest.raises(WorkerUnreachable):
        await ComfyClient(session, simulator.url, timeouts=Timeouts(object_info=0.1)).object_info()


@pytest.mark.parametrize("fault", ["truncated_images", "not_images", "huge_images"])
async def test_pictures_that_cannot_be_used(served, simulator, fault: str):
    (whole,) = await served.images(text_to_image())
    setattr(simulator.faults, fault, 1)
    image = simulator.log[0].images[0].file.reference
    broken = await served.get("/view", params=image)
    assert (broken.status, broken.headers["Content-Type"]) == (200, "image/png")
    if fault == "huge_images":
        header = pyvips.Image.new_from_buffer(broken.body, "")
        assert (header.width, header.height) == (30000, 30000)
    else:
        with pytest.raises(pyvips.Error):
            pyvips.Image.new_from_buffer(broken.body, "", fail_on="truncated").avg()
    assert (await served.get("/view", params=image)).body == whole


async def test_the_log_is_the_truth_of_what_was_made(served, simulator):
    bodies = await served.images(text_to_image("a cat", 5, batch_size=2, behavior="random"))
    log = (await served.get("/simulator/log")).json
    assert log["simulated"] is True
    (entry,) = log["submissions"]
    assert (entry["prompt"], entry["seed"], entry["batch_size"], entry["outcome"]) == ("a cat", 5, 2, "success")
    assert entry["queued"] <= entry["started"] <= entry["ended"]
    assert [image["batch_index"] for image in entry["images"]] == [0, 1]
    assert len({image["pixels_sha256"] for image in entry["images"]}) == 2
    for index, body in enumerate(bodies):
        assert read_caption(body)[-1] == f"seed 5 #{index}"


async def test_the_log_of_pictures_that_nobody_fetched(served, simulator):
    await served.run(text_to_image(batch_size=2))
    unseen = [image.digests for image in simulator.log[0].images]
    fetched = (await served.get("/simulator/log")).json["submissions"][0]["images"]
    assert [digest.clean for digest in unseen] == [image["clean_sha256"] for image in fetched]


async def test_faults_over_http(served, simulator):
    answer = await served.post("/simulator/faults", {"stuck": True, "missing_nodes": ["A"], "proxy": "502"})
    assert answer.json["stuck"] is True
    assert simulator.faults.missing_nodes == {"A"}
    assert (await served.get("/queue")).status == 502
    assert (await served.post("/simulator/faults", {"proxy": None})).json["proxy"] is None
    assert (await served.get("/simulator/faults")).json["missing_nodes"] == ["A"]
    refused = await served.post("/simulator/faults", {"nosuch": 1})
    assert refused.status == 400
    assert refused.json["error"].startswith("There is no fault nosuch")


async def test_a_crash_over_http(served, simulator):
    simulator.faults.hold_jobs = True
    identity = await served.submit(model_free())
    await served.running(identity)
    assert (await served.post("/simulator/crash")).status == 200
    assert (await served.client.queue()).ids == frozenset()


async def test_it_says_that_it_is_simulated_wherever_it_shows(served):
    page = await served.get("/")
    assert b"Simulated ComfyUI" in page.body
    assert page.headers["Server"] == "comfylabel simulated ComfyUI"
    assert "simulated" in (await served.client.system_stats()).devices[0].name
    (body,) = await served.images(text_to_image())
    assert read_caption(body)[0] == "simulated"


async def test_job_seconds_are_spent_once_for_each_job(session):
    async with running_simulator(job_seconds=0.3) as simulator:
        served = Served(simulator.url, session, lambda _: None)
        for graph in (text_to_image(), model_free()):
            await served.run(graph)
        for entry in simulator.log:
            assert entry.started is not None
            assert entry.ended is not None
            assert entry.ended - entry.started >= 0.3


async def test_a_cached_job_takes_no_time(session):
    async with running_simulator() as simulator:
        served = Served(simulator.url, session, lambda _: None)
        await served.run(model_free())
        simulator.job_seconds = 3600
        await served.run(model_free())


async def test_a_hundred_workers_in_one_process(session):
    simulators = [Simulator() for _ in range(100)]
    await asyncio.gather(*(simulator.start() for simulator in simulators))
    try:
        clients = [ComfyClient(session, simulator.url) for simulator in simulators]
        await asyncio.gather(*(client.submit(text_to_image(), str(uuid.uuid4())) for client in clients))
        await until(lambda: all(simulator.log[0].outcome == "success" for simulator in simulators))
        assert len({simulator.url for simulator in simulators}) == 100
    finally:
        await asyncio.gather(*(simulator.stop() for simulator in simulators))


async def test_stopping_in_the_middle_of_a_job(session):
    async with running_simulator() as simulator:
        served = Served(simulator.url, session, lambda _: None)
        await served.running(await served.submit(slow(600)))


async def test_a_socket_that_says_nothing(served, simulator):
    simulator.faults.silent_websocket = True
    async with served.socket("me") as socket:
        assert (await socket.next())[0] == "status"
        await served.run(model_free(), client_id="me")
        simulator.faults.silent_websocket = False
        await served.run(model_free(1), client_id="me")
        assert (await socket.next())[0] == "status"
