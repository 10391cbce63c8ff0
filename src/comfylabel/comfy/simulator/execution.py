"""Runs one graph after the other, as ComfyUI's only thread does: cache, order of nodes, frames, history entry."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfylabel.comfy.simulator.faults import Faults
from comfylabel.comfy.simulator.files import Folders
from comfylabel.comfy.simulator.log_file import LogFile
from comfylabel.comfy.simulator.node_class import NodeClass
from comfylabel.comfy.simulator.queue import Item, SubmissionQueue
from comfylabel.comfy.simulator.releases import Release
from comfylabel.comfy.simulator.running_job import RunningJob
from comfylabel.comfy.simulator.sockets import Sockets
from comfylabel.comfy.simulator.submission_log import LoggedSubmission
from comfylabel.comfy.simulator.values import Interrupted, NodeFailure, Shown

OUT_OF_MEMORY = {"torch.OutOfMemoryError", "torch.AcceleratorError"}
OUT_OF_MEMORY_TEXT = (
    "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have "
    "accidentally set the batch_size to a large number."
)


@dataclass(slots=True)
class Executor:
    queue: SubmissionQueue
    folders: Folders
    sockets: Sockets
    faults: Faults
    release: Release
    classes: Mapping[str, NodeClass]
    log_file: LogFile
    job_seconds: float
    memory_pixels: int | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    current: RunningJob | None = None
    frees: list[dict[str, Any]] = field(default_factory=list)
    _cache: dict[str, tuple[Any, ...] | Shown] = field(default_factory=dict)
    _asked_to_free: dict[str, Any] | None = None

    async def run_forever(self, logged: dict[int, LoggedSubmission]) -> None:
        """`logged` finds the log entry of a queued item by the identity of its graph."""
        while True:
            while not self.queue.pending:
                self.wake.clear()
                await self.wake.wait()
            ticket, item = self.queue.take()
            await self._run(ticket, item, logged.pop(id(item[2])))
            self._free()

    def free(self, wishes: dict[str, Any]) -> None:
        self._asked_to_free = wishes
        if self.current is None:
            self._free()

    def forget(self) -> None:
        """For a restart; run_forever is not running then."""
        self.current = None
        self._cache.clear()
        self._asked_to_free = None

    def interrupt(self, submission_id: str | None) -> None:
        """Stops this submission if it runs; None: whatever runs."""
        if self.current is not None and submission_id in {None, self.current.submission_id}:
            self.current.interrupted.set()

    async def _run(self, ticket: int, item: Item, log: LoggedSubmission) -> None:
        job = RunningJob(self, item, log)
        self.current = job
        log.started = time.time()
        self.log_file.start(log)
        if self.faults.take("stuck"):
            await asyncio.Event().wait()
        self.sockets.send("status", {"status": self.status()})
        job.tell("execution_start", {})
        try:
            await self._run_nodes(job)
            job.tell("execution_success", {})
            log.outcome = "success"
        except Interrupted:
            failed = {"node_id": job.node_id, "node_type": job.node_type, "executed": job.executed}
            job.tell("execution_interrupted", failed, broadcast=True)
            log.outcome = "interrupted"
        except NodeFailure as failure:
            job.tell("execution_error", self._failure(job, failure))
            log.outcome = "error"
        if self.faults.history_gap:
            await asyncio.sleep(self.faults.history_gap)
        log.ended = time.time()
        self.log_file.end(log)
        self.current = None
        self.queue.finish(ticket, job.history_entry(succeeded=log.outcome == "success"))
        self.sockets.send("status", {"status": self.status()})
        if job.client_id is not None:
            self.sockets.send("executing", {"node": None, "prompt_id": job.submission_id}, job.client_id)

    async def _run_nodes(self, job: RunningJob) -> None:
        keys = _cache_keys(job.graph, job.outputs)
        # ComfyUI's cache holds the nodes of the last graph only.
        self._cache = {key: kept for key, kept in self._cache.items() if key in keys.values()}
        cached = [node_id for node_id, key in keys.items() if key in self._cache]
        job.tell("execution_cached", {"nodes": cached})
        needed = _needed(job.graph, job.outputs, set(cached))
        for node_id in _met(job.graph, job.outputs, needed, cached):
            job.show_cached(node_id, self._cache[keys[node_id]])
        job.samplers = sum(self._class(job, node_id).samples for node_id in needed)
        while needed:
            node_id = self._next(job, needed)
            needed.remove(node_id)
            if keys[node_id] in self._cache:  # an equal node has just run
                job.show_cached(node_id, self._cache[keys[node_id]])
                continue
            self._cache[keys[node_id]] = await self._run_node(job, node_id, keys)
            job.executed.append(node_id)

    def _next(self, job: RunningJob, needed: list[str]) -> str:
        """A node whose inputs are there; output nodes first, so that nothing finished waits."""
        waiting = set(needed)
        ready = [node_id for node_id in needed if not any(source in waiting for source in _sources(job.graph, node_id))]
        return next((node_id for node_id in ready if self._class(job, node_id).output_node), ready[0])

    async def _run_node(self, job: RunningJob, node_id: str, keys: dict[str, str]) -> tuple[Any, ...] | Shown:
        node_class = self._class(job, node_id)
        job.enter(node_id, node_class)
        if job.interrupted.is_set():
            raise Interrupted
        if node_class.output_node:
            await job.before_output()
        inputs = {
            name: self._input(value, keys)
            for name, value in job.graph[node_id]["inputs"].items()
            if name in node_class.required or name in node_class.optional
        }
        try:
            result = await node_class.run(job, **inputs)
        except (NodeFailure, Interrupted):
            raise
        except Exception as error:
            raise NodeFailure(type(error).__name__, str(error)) from error
        if isinstance(result, Shown):
            job.show(node_id, result)
        job.leave(node_id)
        return result

    def _input(self, value: Any, keys: dict[str, str]) -> Any:
        if not isinstance(value, list):
            return value
        source = self._cache[keys[value[0]]]
        assert isinstance(source, tuple)
        return source[value[1]]

    def _class(self, job: RunningJob, node_id: str) -> NodeClass:
        return self.classes[job.graph[node_id]["class_type"]]

    def _failure(self, job: RunningJob, failure: NodeFailure) -> dict[str, Any]:
        explained = failure.exception_type == "torch.OutOfMemoryError" or (
            failure.exception_type in OUT_OF_MEMORY and self.release.has("leaves_0_3")
        )
        inputs = job.graph[job.node_id]["inputs"] if job.node_id else {}
        return {
            "node_id": job.node_id,
            "node_type": job.node_type,
            "executed": job.executed,
            "exception_message": failure.message + (OUT_OF_MEMORY_TEXT if explained else "\n"),
            "exception_type": failure.exception_type,
            "traceback": ["  simulated"],
            "current_inputs": {name: [str(value)] for name, value in inputs.items()},
            "current_outputs": list(job.graph),
        }

    def _free(self) -> None:
        if self._asked_to_free is None:
            return
        self.frees.append(self._asked_to_free)
        if self._asked_to_free.get("free_memory"):
            self._cache.clear()
        self._asked_to_free = None

    def status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self.queue.remaining}}


def _sources(graph: Mapping[str, Any], node_id: str) -> list[str]:
    return [value[0] for value in graph[node_id]["inputs"].values() if _is_link(value, graph)]


def _is_link(value: Any, graph: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph  # noqa: PLR2004 - [node id, slot]


def _cache_keys(graph: Mapping[str, Any], outputs: list[str]) -> dict[str, str]:
    """A key for each node upstream of the outputs: its class and inputs, and theirs; not its id."""
    keys: dict[str, str] = {}
    for node_id in _upstream(graph, outputs):
        inputs = {
            name: [keys[value[0]], value[1]] if _is_link(value, graph) else value
            for name, value in graph[node_id]["inputs"].items()
        }
        text = json.dumps([graph[node_id]["class_type"], inputs], sort_keys=True)
        keys[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return keys


def _upstream(graph: Mapping[str, Any], outputs: list[str]) -> list[str]:
    """Every node that the outputs need, sources first. Without recursion: graphs of 900 nodes in a row exist."""
    ordered: dict[str, None] = {}
    waiting = [(output, False) for output in reversed(outputs)]
    while waiting:
        node_id, ready = waiting.pop()
        if node_id in ordered:
            continue
        if ready:
            ordered[node_id] = None
            continue
        waiting.append((node_id, True))
        waiting += [(source, False) for source in reversed(_sources(graph, node_id))]
    return list(ordered)


def _met(graph: Mapping[str, Any], outputs: list[str], needed: list[str], cached: list[str]) -> list[str]:
    """The cached nodes that this run comes across: outputs, and what feeds a node that must run."""
    met = set(outputs).union(*(_sources(graph, node_id) for node_id in needed))
    return [node_id for node_id in cached if node_id in met]


def _needed(graph: Mapping[str, Any], outputs: list[str], cached: set[str]) -> list[str]:
    """What must run: upstream of the outputs, but not behind what the cache has."""
    found: dict[str, None] = {}
    waiting = [output for output in outputs if output not in cached]
    while waiting:
        node_id = waiting.pop()
        if node_id not in found and node_id not in cached:
            found[node_id] = None
            waiting += _sources(graph, node_id)
    return [node_id for node_id in _upstream(graph, outputs) if node_id in found]
