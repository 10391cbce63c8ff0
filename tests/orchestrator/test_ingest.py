"""An image is stored whole, without metadata and under its own hash, or it does not count at all."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from obstore.store import MemoryStore

from comfylabel.comfy.client import ComfyClient, worker_session
from comfylabel.comfy.errors import WorkerError, WorkerMisbehaved, WorkerUnreachable
from comfylabel.comfy.graph import Graph
from comfylabel.comfy.schemas import OutputImage
from comfylabel.comfy.simulator.server import Simulator, running_simulator
from comfylabel.orchestrator import fault_points
from comfylabel.orchestrator.ingest import BrokenImage, Ingester, IngestLimits
from comfylabel.storage.keys import image_key
from comfylabel.storage.store import ObjectStore, StoreUnavailable
from tests.support.images import pixels
from tests.support.simulator import model_free, read_caption, text_to_image
from tests.support.waiting import until

TASK = UUID(int=7)
MEGABYTE = 2**20
PROGRAM = Path(__file__).with_name("full_disk_program.py")
MEMORY_PROGRAM = Path(__file__).with_name("large_image_program.py")


def key_for(sha256: str, extension: str) -> str:
    return image_key(TASK, date(2026, 11, 22), sha256, extension)


@dataclass
class Bench:
    simulator: Simulator
    client: ComfyClient
    store: ObjectStore
    ingester: Ingester
    spool_dir: Path

    async def made(self, graph: Graph) -> list[OutputImage]:
        """The images that the worker made of it."""
        submission_id = str(uuid4())
        await self.client.submit(graph, submission_id)
        entry = await until(lambda: self.client.history(submission_id))
        return [image for images in entry.images.values() for image in images]

    @property
    def stored(self) -> list[Path]:
        assert self.store._root is not None
        return sorted(path for path in self.store._root.rglob("*") if path.is_file())

    @property
    def spooled(self) -> list[Path]:
        return list(self.spool_dir.iterdir())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with running_simulator() as simulator, worker_session() as session:
        store = ObjectStore.open(str(tmp_path / "objects"))
        client = ComfyClient(session, simulator.url, max_image_bytes=4 * MEGABYTE)
        ingester = Ingester(store, tmp_path / "spool", IngestLimits(4 * MEGABYTE, concurrency=2))
        yield Bench(simulator, client, store, ingester, tmp_path / "spool")


async def test_an_image_is_stored_under_its_own_hash_without_its_text(bench: Bench):
    [output] = await bench.made(text_to_image("a red cat", seed=911, width=1280, height=960))
    sent = b"".join([chunk async for chunk in bench.client.view(output)])
    stored = await bench.ingester.ingest(bench.client, output, key_for)
    kept = await bench.store.get(stored.key)
    assert b"KSampler" in sent  # ComfyUI writes the whole graph into its pictures
    assert b"KSampler" not in kept
    assert pixels(kept) == pixels(sent)
    assert read_caption(kept)[-1] == "seed 911 #0"
    assert hashlib.sha256(kept).hexdigest() == stored.sha256
    assert stored.key == key_for(stored.sha256, "png")
    assert (stored.bytes, stored.width, stored.height) == (len(kept), 1280, 960)
    assert pixels(await bench.store.get(stored.thumbnail_key))[:2] == (256, 192)
    assert pixels(await bench.store.get(stored.tile_key))[:2] == (640, 480)
    assert pixels(await bench.store.get(stored.preview_key))[:2] == (1024, 768)
    assert bench.spooled == []


async def test_the_same_image_twice_is_stored_once(bench: Bench):
    [output] = await bench.made(model_free())
    first, second = await asyncio.gather(*(bench.ingester.ingest(bench.client, output, key_for) for _ in range(2)))
    assert first == second
    assert len(bench.stored) == 2


@pytest.mark.parametrize(("side", "files"), [(256, 2), (512, 3), (768, 4)])
async def test_a_smaller_version_that_is_the_same_is_stored_once(bench: Bench, side: int, files: int):
    """Of a small image each file more costs as much as all the work on its pixels."""
    [output] = await bench.made(text_to_image(width=side, height=side))
    stored = await bench.ingester.ingest(bench.client, output, key_for)
    smaller = (stored.thumbnail_key, stored.tile_key, stored.preview_key)
    assert len({stored.key, *smaller}) == len(bench.stored) == files
    shown = [max(pixels(await bench.store.get(key))[:2]) for key in smaller]
    assert shown == [min(limit, side) for limit in (256, 640, 1024)]


async def test_a_batch_of_one_worker_is_taken_a_few_at_a_time(bench: Bench):
    """Two places: the third image is not asked for before one of the two is stored."""
    bench.ingester = Ingester(bench.store, bench.spool_dir, IngestLimits(4 * MEGABYTE, concurrency=2, budget_bytes=0))
    reached, go_on = [], asyncio.Event()

    async def hold(point: fault_points.FaultPoint) -> None:
        reached.append(point)
        await go_on.wait()

    outputs = await bench.made(text_to_image(batch_size=4, behavior="random"))
    fault_points.install(hold)
    try:
        taking = asyncio.gather(*(bench.ingester.ingest(bench.client, output, key_for) for output in outputs))
        await until(lambda: len(reached) == 2)
        asked = [path for _, path in bench.simulator.requests if "view" in path]
        go_on.set()
        stored = await taking
    finally:
        fault_points.clear()
    assert len(asked) == 2
    assert reached.count("before_put") == reached.count("after_put") == 4
    assert len({image.sha256 for image in stored}) == 4


@pytest.mark.parametrize(
    ("faults", "error", "words"),
    [
        ({"truncated_images": 1}, BrokenImage, "damaged"),
        ({"not_images": 1}, BrokenImage, "not a PNG, JPEG or WebP"),
        ({"huge_images": 1}, BrokenImage, "too large: 30000 x 30000"),
        ({"endless_images": 1}, WorkerMisbehaved, "more than 4 MiB"),
        ({"cut_images": 1}, WorkerMisbehaved, "cut off"),
        ({"proxy": "html", "proxy_paths": ["/view"]}, WorkerMisbehaved, "text/html"),
        ({"proxy": "502", "proxy_paths": ["/view"]}, WorkerMisbehaved, "502"),
        ({"proxy": "401", "proxy_paths": ["/view"]}, WorkerMisbehaved, "API key"),
    ],
    ids=str,
)
async def test_what_a_worker_gets_wrong_leaves_nothing_behind(
    bench: Bench, faults: dict[str, Any], error: type[Exception], words: str
):
    [output] = await bench.made(model_free())
    bench.simulator.faults.change(faults)
    with pytest.raises(error, match=words):
        await bench.ingester.ingest(bench.client, output, key_for)
    assert bench.stored == []
    assert bench.spooled == []
    bench.simulator.faults.change({"proxy": "none"})
    await bench.ingester.ingest(bench.client, output, key_for)  # and its place is free again
    assert len(bench.stored) == 2


async def test_our_own_limit_holds_whatever_the_client_allows(bench: Bench, tmp_path: Path):
    [output] = await bench.made(model_free(size=512))
    small = Ingester(bench.store, tmp_path / "spool", IngestLimits(100, concurrency=1))
    with pytest.raises(BrokenImage, match="too large"):
        await small.ingest(bench.client, output, key_for)
    assert bench.stored == []


async def test_a_worker_that_has_gone_is_unreachable(bench: Bench):
    [output] = await bench.made(model_free())
    await bench.simulator.stop()
    with pytest.raises(WorkerUnreachable):
        await bench.ingester.ingest(bench.client, output, key_for)
    assert bench.spooled == []


async def test_a_file_that_the_worker_has_not_is_the_workers_fault(bench: Bench):
    with pytest.raises(WorkerError):
        await bench.ingester.ingest(bench.client, OutputImage("../../etc/passwd"), key_for)
    assert bench.stored == []


async def test_being_cancelled_on_the_way_leaves_no_spool_and_frees_the_place(bench: Bench):
    [output] = await bench.made(model_free())
    bench.simulator.faults.slow_image_seconds = 3600
    taking = [asyncio.create_task(bench.ingester.ingest(bench.client, output, key_for)) for _ in range(2)]
    await until(lambda: sum("view" in path for _, path in bench.simulator.requests) == 2)
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    bench.simulator.faults.slow_image_seconds = 0
    await bench.ingester.ingest(bench.client, output, key_for)
    assert bench.spooled == []


async def test_an_image_that_goes_over_the_disk_is_the_same_in_the_end(bench: Bench):
    outputs = await bench.made(text_to_image(width=1280, height=960, batch_size=3, behavior="random"))
    limits = IngestLimits(4 * MEGABYTE, concurrency=2, budget_bytes=2**23, in_memory_bytes=1000)
    over_disk = Ingester(bench.store, bench.spool_dir, limits)
    for output in outputs:
        [small, large] = [await each.ingest(bench.client, output, key_for) for each in (bench.ingester, over_disk)]
        assert small == large
    assert (limits.large_places, bench.spooled) == (1, [])
    await asyncio.gather(*(over_disk.ingest(bench.client, output, key_for) for output in outputs))  # one after another
    bench.simulator.faults.truncated_images = 1
    with pytest.raises(BrokenImage, match="damaged"):
        await over_disk.ingest(bench.client, outputs[0], key_for)
    assert bench.spooled == []


async def test_a_large_image_takes_little_memory(tmp_path: Path):
    """200 MB of it where 80 MB more may be taken; over the network, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(MEMORY_PROGRAM.parents[2] / "src")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(MEMORY_PROGRAM), str(tmp_path), stdout=subprocess.PIPE, env=environment
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(told)
    assert result["bytes"] > 2 * result["allowed"]
    assert (result["stored"], result["spooled"]) == (4, 0)


async def test_slow_workers_leave_places_for_quick_ones(bench: Bench):
    [output] = await bench.made(model_free())
    limits = IngestLimits(4 * MEGABYTE, concurrency=1, budget_bytes=2 * 16 * 2**23)
    assert (limits.small_places, limits.places_per_worker) == (16, 2)
    ingester = Ingester(bench.store, bench.spool_dir, limits)
    async with running_simulator() as slow, worker_session() as session:
        slow.faults.slow_image_seconds = 3600
        [picture] = await Bench(slow, ComfyClient(session, slow.url), bench.store, ingester, bench.spool_dir).made(
            model_free()
        )
        slow_clients = [ComfyClient(session, slow.url) for _ in range(7)]  # as many workers
        waiting = [
            asyncio.create_task(ingester.ingest(client, picture, key_for)) for client in slow_clients for _ in range(50)
        ]
        await until(lambda: sum("view" in path for _, path in slow.requests) == 14)
        await ingester.ingest(bench.client, output, key_for)
        assert sum("view" in path for _, path in slow.requests) == 14
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_it_is_behind_while_more_is_owed_than_it_may_owe(bench: Bench):
    ingester = Ingester(bench.store, bench.spool_dir, IngestLimits(MEGABYTE, concurrency=1, backlog=4))
    told = []
    ingester.on_room = lambda: told.append(ingester.is_behind)
    with ingester.owing(4):
        assert not ingester.is_behind
        with ingester.owing(1), ingester.owing(1):
            assert ingester.is_behind
        assert told == [False]
    assert (ingester.is_behind, told) == (False, [False])


class ForgetfulBucket(ObjectStore):
    """Says that it took everything and has kept half, as a gateway that lies."""

    async def size(self, key: str) -> int | None:
        size = await super().size(key)
        return size // 2 if size else size


async def test_a_bucket_that_kept_half_is_found_out(bench: Bench, tmp_path: Path):
    [output] = await bench.made(model_free())
    store = ForgetfulBucket(MemoryStore(), "memory:", None)
    ingester = Ingester(store, tmp_path / "spool", IngestLimits(MEGABYTE, concurrency=1))
    with pytest.raises(StoreUnavailable, match=r"kept \d+ of \d+ bytes"):
        await ingester.ingest(bench.client, output, key_for)


async def test_a_bucket_gets_what_a_folder_gets(bench: Bench, tmp_path: Path):
    [output] = await bench.made(model_free())
    bucket = ObjectStore(MemoryStore(), "memory:", None)
    ingester = Ingester(bucket, tmp_path / "spool", IngestLimits(MEGABYTE, concurrency=1))
    stored = await ingester.ingest(bench.client, output, key_for)
    assert await bench.ingester.ingest(bench.client, output, key_for) == stored
    for key in (stored.key, stored.thumbnail_key, stored.tile_key, stored.preview_key):
        assert await bucket.get(key) == await bench.store.get(key)


def can_make_a_small_disk() -> bool:
    made = subprocess.run([*NEW_MOUNTS, "true"], check=False, capture_output=True)
    return made.returncode == 0


NEW_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.parametrize(("disk", "full"), [("tmpfs", "store"), ("tmpfs", "spool"), ("file_size_limit", "spool")])
async def test_a_full_disk_stores_nothing_half_and_recovers(bench: Bench, tmp_path: Path, full: str, disk: str):
    """In a process of its own: on a disk of 1 MB that a filler fills, or where no file may grow beyond 8 kB."""
    if disk == "tmpfs" and not can_make_a_small_disk():
        pytest.skip("no user namespaces here; the other way of a full disk still runs")
    [output] = await bench.made(text_to_image(width=512, height=512))
    command = [sys.executable, PROGRAM, disk, full, tmp_path, bench.simulator.url, json.dumps(vars_of(output))]
    process = await asyncio.create_subprocess_exec(
        *(NEW_MOUNTS if disk == "tmpfs" else []),
        *map(str, command),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(told)
    assert (result["error"], result["status"], result["code"]) == ("StoreUnavailable", 503, "store_unavailable")
    assert (
        result["words"]
        == {
            "store": "The image store is full.",
            "spool": "There is no room left to fetch an image to.",
        }[full]
    )
    assert (result["images_after_failure"], result["spooled"]) == ([], [])
    assert result["stored_later"] == 3  # with room again


def vars_of(output: OutputImage) -> dict[str, str]:
    return {"filename": output.filename, "subfolder": output.subfolder, "type": output.type}
