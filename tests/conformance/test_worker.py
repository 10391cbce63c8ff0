"""What a server says of itself, whom it lets in, and how the product's client reads its refusals."""

import uuid
from typing import Any

import pytest

from comfylabel.comfy.errors import SubmissionRefused
from comfylabel.comfy.simulator.image_nodes import ALL_CLASSES
from comfylabel.comfy.simulator.releases import Release
from tests.support.served import Served, nonce
from tests.support.simulator import model_free, node, slow, text_to_image

# Simulated for nothing else than to be the same as the genuine ones.
SAME_AS_GENUINE = sorted(ALL_CLASSES.keys() - {"SimulatedPartnerTextToImage"})
FILE_INPUTS = {"ckpt_name", "unet_name", "clip_name", "clip_name1", "clip_name2", "vae_name", "lora_name", "image"}
FILE_INPUTS |= {"control_net_name"}
ENUMS_OF_A_RELEASE = {"type", "weight_dtype", "sampler_name", "scheduler", "device"}


async def test_system_stats(server: Served):
    answer = (await server.get("/system_stats")).json
    assert answer["system"]["comfyui_version"] == "0.3.75"
    assert answer["system"]["os"] == "posix"
    device = answer["devices"][0]
    assert {"name", "type", "index", "vram_total", "vram_free", "torch_vram_total"} <= device.keys()
    stats = await server.client.system_stats()
    assert stats.version_numbers == (0, 3, 75)
    assert stats.devices[0].vram_total >= stats.devices[0].vram_free > 0


async def test_features(server: Served):
    answer = (await server.get("/features")).json
    assert answer["supports_preview_metadata"] is True
    assert answer["max_upload_size"] == 100 * 2**20


async def test_every_class_is_described_in_one_shape(server: Served):
    described = await server.client.object_info()
    assert {"KSampler", "SaveImage", "ProbeSleep"} <= described.keys()
    for name, info in described.items():
        assert info["name"] == name
        assert {"input", "output", "output_node", "category"} <= info.keys()
        assert info["input_order"].keys() == info["input"].keys()


async def test_one_class(server: Served):
    described = await server.client.object_info("KSampler")
    assert list(described) == ["KSampler"]
    assert described["KSampler"] == (await server.client.object_info())["KSampler"]


async def test_no_such_class(server: Served):
    answer = await server.get("/object_info/NoSuchNode")
    assert (answer.status, answer.json) == (200, {})


async def test_choices_come_in_two_shapes(server: Served):
    described = await server.client.object_info()
    v1 = described["KSampler"]["input"]["required"]["scheduler"]
    assert isinstance(v1[0], list)
    v3 = described["LatentBatchSeedBehavior"]["input"]["required"]["seed_behavior"]
    assert v3[0] == "COMBO"
    assert v3[1]["options"] == ["random", "fixed"]


async def test_paid_nodes_say_so(server: Served):
    paid = [info for info in (await server.client.object_info()).values() if info.get("api_node")]
    assert paid
    assert all(info["category"].startswith("api node") for info in paid)


@pytest.mark.parametrize("name", SAME_AS_GENUINE)
async def test_a_class_takes_and_gives_the_same(server: Served, name: str):
    described = (await server.client.object_info(name))[name]
    ours = ALL_CLASSES[name].describe({}, Release("0.3.75"))
    assert described["output"] == ours["output"]
    assert described["output_node"] == ours["output_node"]
    for group in ("required", "optional"):
        theirs = described["input"].get(group, {})
        mine = ours["input"].get(group, {})
        assert list(theirs) == list(mine)
        for key, spec in mine.items():
            assert comparable(key, theirs[key]) == comparable(key, spec), key


def comparable(name: str, spec: list[Any]) -> Any:
    """Kind and limits of an input; not its tooltip, nor options that come with files and releases."""
    options = spec[1] if len(spec) > 1 else {}
    kind = spec[0]
    if isinstance(kind, list):
        kind = "list" if name in FILE_INPUTS | ENUMS_OF_A_RELEASE else kind
    choices = options.get("options") if name not in FILE_INPUTS | ENUMS_OF_A_RELEASE else None
    return kind, options.get("min"), options.get("max"), choices


async def test_models_by_folder(server: Served):
    assert "checkpoints" in (await server.get("/models")).json
    assert "tiny-random-fp16.safetensors" in (await server.get("/models/checkpoints")).json
    assert (await server.get("/models/nosuchfolder")).status == 404


async def test_paths_have_an_alias_under_api(server: Served):
    assert (await server.get("/api/queue")).json == (await server.get("/queue")).json
    assert (await server.get("/api/system_stats")).status == 200


@pytest.mark.parametrize("path", ["/api/jobs", "/api/assets", "/nope"])
async def test_paths_that_are_not_there(server: Served, path: str):
    answer = await server.get(path)
    assert (answer.status, answer.body) == (404, b"")


async def test_a_method_that_is_not_there(server: Served):
    answer = await server.ask("PUT", "/prompt", json={})
    assert answer.status == 405


async def test_a_foreign_origin_is_kept_out(server: Served):
    assert (await server.get("/queue", headers={"Origin": "http://evil.example"})).status == 403
    assert (await server.get("/queue", headers={"Origin": server.url})).status == 200
    other_name = server.url.replace("127.0.0.1", "localhost")
    assert (await server.get("/queue", headers={"Origin": other_name})).status == 403


async def test_a_foreign_host_is_not_checked(server: Served):
    headers = {"Host": "comfy.example", "Origin": "http://evil.example"}
    assert (await server.get("/queue", headers=headers)).status == 200


async def test_cross_site_requests_are_not_checked_yet(server: Served):
    assert (await server.get("/queue", headers={"Sec-Fetch-Site": "cross-site"})).status == 200


async def test_there_is_no_authentication(server: Served):
    assert (await server.get("/queue", headers={"Authorization": "Bearer x"})).status == 200


async def test_the_client_is_told_of_a_missing_node(server: Served):
    with pytest.raises(SubmissionRefused) as refused:
        await server.client.submit(model_free() | {"7": node("NoSuchNode")}, str(uuid.uuid4()))
    assert refused.value.reason == "missing_node"
    assert "NoSuchNode" in refused.value.message


async def test_the_client_is_told_of_a_missing_model(server: Served):
    graph = text_to_image(checkpoint="nope.safetensors")
    with pytest.raises(SubmissionRefused) as refused:
        await server.client.submit(graph, str(uuid.uuid4()))
    assert refused.value.reason == "missing_model"
    assert refused.value.message == "Node 4 (CheckpointLoaderSimple): nope.safetensors is not on this worker."


async def test_the_client_is_told_of_an_invalid_value(server: Served):
    with pytest.raises(SubmissionRefused) as refused:
        await server.client.submit(text_to_image(steps=0), str(uuid.uuid4()))
    assert refused.value.reason == "validation"
    assert "Value 0 smaller than min of 1" in refused.value.message


async def test_the_client_takes_half_a_graph_for_a_refusal(server: Served):
    identity = str(uuid.uuid4())
    graph = model_free(nonce()) | {
        "5": node("EmptyImage", width=0, height=64, batch_size=1, color=0),
        "10": node("SaveImage", images=["5", 0], filename_prefix="tests/bad"),
    }
    with pytest.raises(SubmissionRefused) as refused:
        await server.client.submit(graph, identity)
    assert refused.value.reason == "validation"
    await server.idle()


async def test_the_client_submits_follows_and_fetches(server: Served):
    client, identity, graph = server.client, str(uuid.uuid4()), text_to_image(seed=nonce(), batch_size=2)
    await client.submit(graph, identity, extra_data={"comfylabel": 1})
    await server.entry(identity)
    entry = await client.history(identity)
    assert entry is not None
    assert entry.outcome == "success"
    assert entry.graph == graph
    for image in entry.images["9"]:
        body = b"".join([chunk async for chunk in client.view(image)])
        assert body.startswith(b"\x89PNG\r\n\x1a\n")


async def test_the_client_interrupts_by_id(server: Served):
    identity = await server.submit(slow(30, nonce=nonce()))
    await server.running(identity)
    assert await server.client.interrupt(identity) is True
    await server.entry(identity)
    entry = await server.client.history(identity)
    assert entry is not None
    assert entry.outcome == "interrupted"
