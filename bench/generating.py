"""A task that is generated for real: simulated workers in processes of their own, and the product's own processes."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bench.at_work import AtWork, orchestrating, process
from bench.machine import Cpu, main_thread_seconds, until_at_rest
from comfylabel.cli.api import Api, connect, sign_in

# Of what the README says that a figure is measured on; less of it while trying something out.
SIZE = float(os.environ.get("SIZE", "1"))
POOLS = {name: [f"{name} {number}" for number in range(100)] for name in ("place", "light", "mood")}
LOOK_SECONDS = 0.25

Graph = dict[str, dict[str, Any]]


def sized(whole: int, at_least: int = 1) -> int:
    return max(at_least, int(whole * SIZE))


# ------------------------------------------------------------------------------------------------------------- workers


@dataclass(frozen=True, slots=True)
class Job:
    """One submission by the log of the worker that got it: seconds since 1970."""

    worker: str
    id: str
    posted: float
    started: float | None
    ended: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Workers:
    """`hosts`: the processes in which they run."""

    urls: list[str]
    hosts: list[int]
    logs: list[Path]

    def jobs(self) -> list[Job]:
        return [job for log in self.logs for job in _jobs(log)]


@contextmanager
def simulated_workers(
    folder: Path, count: int, *, job_seconds: float, hosts: int = 2, pictures: Path | None = None
) -> Iterator[Workers]:
    """Shared among a few processes, so that neither a hundred Pythons nor one thread is what is measured. `pictures`:
    a folder of files that they send in place of what they would draw.
    """
    shares = [count // hosts + (number < count % hosts) for number in range(hosts)]
    with ExitStack() as stack:
        urls: list[str] = []
        pids, logs = [], []
        for number, share in enumerate(shares):
            logs_of_host = folder / f"workers-{number}"
            logs_of_host.mkdir(parents=True)
            command = [sys.executable, "-m", "bench.worker_host", str(share), str(job_seconds), str(logs_of_host)]
            host = stack.enter_context(process([*command, str(pictures)] if pictures else command))
            assert host.stdout
            urls += json.loads(host.stdout.readline())
            pids.append(host.pid)
            logs += [logs_of_host / f"{worker}.jsonl" for worker in range(share)]
        yield Workers(urls, pids, logs)


def saved_images(workers: Workers) -> list[str]:
    """The addresses of all that they saved."""
    found = []
    for url, log in zip(workers.urls, workers.logs, strict=True):
        with log.open() as lines:
            for event in map(json.loads, lines):
                for image in event.get("images", ()):
                    named = {key: image[key] for key in ("filename", "subfolder", "type")}
                    found.append(f"{url}/view?{urlencode(named)}")
    return found


def _jobs(log: Path) -> Iterator[Job]:
    """One for each POST that it took, even if two were of the same id."""
    seen: dict[float, dict[str, Any]] = {}
    with log.open() as lines:
        for event in map(json.loads, lines):
            if event["event"] in {"post", "start", "end"}:
                seen.setdefault(event["number"], {"id": event["id"], "end": {}})[event["event"]] = event
    for of_job in seen.values():
        yield Job(
            str(log), of_job["id"], of_job["post"]["at"], of_job.get("start", {}).get("at"), of_job["end"].get("at"),
            of_job["end"].get("outcome"),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- the project


@asynccontextmanager
async def operator(at_work: AtWork) -> AsyncIterator[Api]:
    """Somebody who asks as the browser and the command line ask."""
    async with connect(at_work.origin) as api:
        await sign_in(api, at_work.new_person("bench operator", "admin"))
        yield api


async def register(api: Api, workers: Workers, *, max_concurrent_jobs: int) -> list[str]:
    """Each is asked once by the server, and is healthy."""
    ids = []
    for number, url in enumerate(workers.urls):
        body = {"name": f"worker {number}", "base_url": url, "max_concurrent_jobs": max_concurrent_jobs}
        added = await api.post("/api/workers", body)
        assert added["status"] == "HEALTHY", added
        ids.append(str(added["id"]))
    return ids


async def prepare_task(
    api: Api, graph: Graph, *, prompts: int, seeds: int, max_batch_size: int, name: str = "bench"
) -> str:
    """Frozen: one call away from running."""
    form = aiohttp.FormData()
    form.add_field("workflow", json.dumps(graph).encode(), filename="bench.json", content_type="application/json")
    metadata = {"name": name, "version": "1", "model": "simulated", "max_batch_size": max_batch_size}
    form.add_field("metadata", json.dumps(metadata), content_type="application/json")
    workflow = await api.post("/api/workflows", form=form)
    known = {pool["name"] for pool in (await api.get("/api/variable-pools"))["items"]}
    for pool, items in POOLS.items():
        if pool not in known:
            await api.post("/api/variable-pools", {"name": pool, "mode": "no_replacement", "items": items})
    task = await api.post(
        "/api/tasks",
        {
            "workflow_id": workflow["id"],
            "variable_pool_ids": list(POOLS),
            "target_prompts": prompts,
            "seeds_per_prompt": seeds,
        },
    )
    await api.post(f"/api/tasks/{task['id']}/freeze")
    return str(task["id"])


@dataclass(frozen=True, slots=True)
class Made:
    """What the processes took while a task ran, from its start until all images were stored."""

    seconds: float
    orchestrator_cpu: float
    loop_cpu: float  # the thread of its event loop; the other threads check and store images
    cpu: str
    tried_again: dict[str, int]  # submissions that brought no image, by what became of them

    def sentence(self, submissions: int) -> str:
        each, loop = (1000 * seconds / submissions for seconds in (self.orchestrator_cpu, self.loop_cpu))
        again = ", ".join(f"{count} {kind}" for kind, count in self.tried_again.items())
        return f"{self.cpu}; the orchestrator took {each:.1f} ms a submission, {loop:.1f} of them its event loop." + (
            f" Submissions that were tried again: {again}." if again else ""
        )


@asynccontextmanager
async def orchestrator_at_rest(at_work: AtWork) -> AsyncIterator[int]:
    """One orchestrator process that has started: its number."""
    with orchestrating(at_work) as running:
        await asyncio.to_thread(until_at_rest, running.pid)
        yield running.pid


async def make(at_work: AtWork, api: Api, task_id: str, orchestrator: int, workers: Workers) -> Made:
    """Run it until every image is stored."""
    assert at_work.postgres.pid
    cpu = Cpu(
        {
            "the orchestrator": [orchestrator],
            "PostgreSQL": [at_work.postgres.pid],
            "the API": [at_work.pid],
            "the simulated workers": workers.hosts,
        }
    )
    loop, begun = main_thread_seconds(orchestrator), time.perf_counter()
    await api.post(f"/api/tasks/{task_id}/run")
    await until_made(api, task_id)
    seconds, spent = time.perf_counter() - begun, cpu.spent()
    loop_cpu = main_thread_seconds(orchestrator) - loop
    return Made(seconds, spent["the orchestrator"], loop_cpu, cpu.sentence(), await _tried_again(at_work, task_id))


async def _tried_again(at_work: AtWork, task_id: str) -> dict[str, int]:
    rows = await at_work.database.pool.fetch(
        "select coalesce(error->>'class', state) as kind, count(*) from submissions"
        " where task_id = $1 and state not in ('generated', 'ingested') group by 1",
        task_id,
    )
    return {row["kind"]: row["count"] for row in rows}


async def progress(api: Api, task_id: str) -> Any:
    return await api.get(f"/api/tasks/{task_id}/progress", limit=1)


async def until_made(api: Api, task_id: str, *, images: int | None = None) -> Any:
    """Until so many images are stored, or all of them; the progress then."""
    while True:
        counts = await progress(api, task_id)
        if counts["failed"]:
            raise RuntimeError(f"{counts['failed']} of {counts['total']} images failed: {counts}")
        if counts["done"] >= (images or counts["total"]):
            return counts
        await asyncio.sleep(LOOK_SECONDS)


def text_to_image(*, width: int, height: int) -> Graph:
    """The usual nodes of a text-to-image workflow, as ComfyUI exports them; native batches, and a turbo model's steps:
    a job of a second has no more.
    """
    return {
        "3": _node(
            "KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["10", 0], seed=1, steps=8,
            cfg=2.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        "4": _node("CheckpointLoaderSimple", ckpt_name="sdxl-simulated.safetensors"),
        "5": _node("EmptyLatentImage", width=width, height=height, batch_size=1),
        "6": _node("CLIPTextEncode", text="a landscape with {place}, {light}, {mood}", clip=["4", 1]),
        "7": _node("CLIPTextEncode", text="blurry, low quality, watermark", clip=["4", 1]),
        "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": _node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
        "10": _node("LatentBatchSeedBehavior", samples=["5", 0], seed_behavior="random"),
    }  # fmt: skip


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}
