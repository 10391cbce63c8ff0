"""A genuine ComfyUI as the pipeline's tests see it: graphs for its tiny checkpoint, and what it says of what it ran."""

from dataclasses import replace
from typing import Any

import aiohttp

from tests.support.pipeline import QUICK, loop_graph
from tests.support.served import nonce

# The first job of a CPU that is busy with other things loads 300 MB: half a minute was seen.
PATIENT = replace(QUICK, patience=replace(QUICK.patience, worker_lost=60.0, deadline=300.0))
CHECKPOINT = {"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-random-fp16.safetensors"}}}


def latent(side: int) -> dict[str, Any]:
    return {"5": {"class_type": "EmptyLatentImage", "inputs": {"width": side, "height": side, "batch_size": 1}}}


def graph_with(probe: dict[str, Any] | None = None, side: int = 64) -> dict[str, Any]:
    """One image a submission; a probe node stands between the decoder and the file."""
    graph = loop_graph() | CHECKPOINT | latent(side)
    if probe is None:
        return graph
    probe["inputs"] |= {"image": ["8", 0], "nonce": nonce()}
    save = {"class_type": "SaveImage", "inputs": {"images": ["11", 0], "filename_prefix": "ComfyUI"}}
    return graph | {"11": probe, "9": save}


def sleep(seconds: float) -> dict[str, Any]:
    return {"class_type": "ProbeSleep", "inputs": {"seconds": seconds, "interruptible": True}}


async def history(url: str) -> dict[str, Any]:
    """By submission, all that this server has ended since it was started."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/history") as answer:
        entries: dict[str, Any] = await answer.json()
        return entries


async def queue(url: str) -> tuple[list[str], list[str]]:
    """The submissions that run and those that wait."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/queue") as answer:
        items = await answer.json()
        return [item[1] for item in items["queue_running"]], [item[1] for item in items["queue_pending"]]


async def post(url: str, graph: dict[str, Any]) -> str:
    """A stranger's submission: another client's, with an id that the server chooses."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}/prompt", json={"prompt": graph}) as answer:
        document = await answer.json()
        assert answer.status == 200, document
        return str(document["prompt_id"])


def assert_was_sent(row: dict[str, Any], sent: dict[str, Any]) -> None:
    """The row of an image against the graph that the server says it ran."""
    assert sent["3"]["inputs"]["seed"] == row["seed_value"]
    assert sent["6"]["inputs"]["text"] == row["text"]
    assert sent["5"]["inputs"]["batch_size"] == row["batch_size"]
    assert (sent["5"]["inputs"]["width"], sent["5"]["inputs"]["height"]) == (row["width"], row["height"])
