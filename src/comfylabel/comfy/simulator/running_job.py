"""The job that runs: what its nodes may ask for, what the sockets hear of it, and what the history will say."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from comfylabel.comfy.simulator.files import escapes
from comfylabel.comfy.simulator.node_class import NodeClass
from comfylabel.comfy.simulator.pictures import Picture, encode
from comfylabel.comfy.simulator.queue import Item
from comfylabel.comfy.simulator.submission_log import LoggedImage, LoggedSubmission
from comfylabel.comfy.simulator.values import Interrupted, Latent, NodeFailure, Shown

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.execution import Executor

PROGRESS_FRAMES = 20
INSTANT_FRAMES = 1  # nobody watches a sampler that takes no time, and many frames would take most of it
HOLD_LOOK_SECONDS = 0.01


class RunningJob:
    def __init__(self, executor: "Executor", item: Item, log: LoggedSubmission) -> None:
        self.number, self.submission_id, self.graph, self.extra_data, self.outputs = item
        self.client_id: str | None = self.extra_data.get("client_id")
        self.log = log
        self.interrupted = asyncio.Event()
        self.executed: list[str] = []
        self.node_id = ""
        self.node_type = ""
        self.samplers = 0
        self._executor = executor
        self._sockets = executor.sockets
        self._seconds_left = executor.job_seconds
        self._item = item
        self._messages: list[list[Any]] = []
        self._shown: dict[str, dict[str, list[Any]]] = {}
        self._progress: dict[str, dict[str, Any]] = {}

    # -- what the sockets hear

    def tell(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """Goes into the history too. Without a client id nobody is told, unless it is broadcast."""
        message = {"prompt_id": self.submission_id, **data, "timestamp": int(time.time() * 1000)}
        if event == "execution_cached":
            message = {"nodes": data["nodes"], "prompt_id": self.submission_id, "timestamp": message["timestamp"]}
        self._messages.append([event, message])
        if self.client_id is not None or broadcast:
            self._sockets.send(event, message, self.client_id)

    def enter(self, node_id: str, node_class: NodeClass) -> None:
        self.node_id, self.node_type = node_id, node_class.name
        self._tell_progress(node_id, 0.0, 1.0, "running")
        self._tell_node("executing", node_id, {})

    def leave(self, node_id: str) -> None:
        maximum = self._progress[node_id]["max"]
        self._tell_progress(node_id, maximum, maximum, "finished")

    def show(self, node_id: str, shown: Shown) -> None:
        if shown.ui:
            self._shown[node_id] = shown.ui
            self._tell_node("executed", node_id, {"output": shown.ui})

    def show_cached(self, node_id: str, result: tuple[Any, ...] | Shown) -> None:
        """ComfyUI's history has the files of a cached node only if the submission names a client."""
        if self.client_id is not None:
            shown = result.ui if isinstance(result, Shown) and result.ui else None
            if shown is not None:
                self._shown[node_id] = shown
            self._tell_node("executed", node_id, {"output": shown})
        self._tell_progress(node_id, 1, 1, "finished")

    def _tell_node(self, event: str, node_id: str, more: dict[str, Any]) -> None:
        if self.client_id is not None:
            data = {"node": node_id, "display_node": node_id, **more, "prompt_id": self.submission_id}
            self._sockets.send(event, data, self.client_id)

    def _tell_progress(self, node_id: str, value: float, maximum: float, state: str) -> None:
        """Broadcast when the submission has no client id: foreign ids turn up on every socket."""
        self._progress[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self.submission_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        data = {"prompt_id": self.submission_id, "nodes": self._progress}
        self._sockets.send("progress_state", data, self.client_id)

    def _tell_step(self, value: int, maximum: int) -> None:
        self._tell_progress(self.node_id, value, maximum, "running")
        data = {"value": value, "max": maximum, "prompt_id": self.submission_id, "node": self.node_id}
        self._sockets.send("progress", data, self.client_id)

    # -- what nodes ask for

    async def sample(self, latent: Latent, steps: int) -> None:
        faults = self._executor.faults
        first = latent.pictures[0]
        self.log.batch_size, self.log.width, self.log.height = len(latent.pictures), first.width, first.height
        limits = [limit for limit in (faults.out_of_memory_above, self._executor.memory_pixels) if limit is not None]
        if limits and latent.pixels > min(limits):
            if faults.accelerator_oom:
                raise NodeFailure("torch.AcceleratorError", "CUDA error: out of memory")
            raise NodeFailure(
                "torch.OutOfMemoryError",
                f"CUDA out of memory. Simulated: {latent.pixels} pixels, {min(limits)} fit.",
            )
        if faults.take("execution_errors"):
            raise NodeFailure("RuntimeError", "simulated failure of the sampler")
        share = self._executor.job_seconds / max(1, self.samplers)
        self._seconds_left -= share
        await self._pass(share, steps=min(steps, PROGRESS_FRAMES if share > 0 else INSTANT_FRAMES))

    async def sleep(self, seconds: float, *, interruptible: bool) -> None:
        if interruptible:
            await self._pass(seconds, steps=max(1, int(seconds / 0.1)))
        else:
            await asyncio.sleep(seconds)

    async def before_output(self) -> None:
        """A graph without a sampler takes its time here, and a held job waits here."""
        if self._seconds_left > 0 and not self.samplers:
            await self._pass(self._seconds_left, steps=1)
            self._seconds_left = 0
        while self._executor.faults.hold_jobs:
            await self._pass(HOLD_LOOK_SECONDS, steps=0)

    async def _pass(self, seconds: float, steps: int) -> None:
        """Time that an interruption ends; a progress frame after each step."""
        for step in range(max(1, steps)):
            if seconds > 0:
                try:
                    async with asyncio.timeout(seconds / max(1, steps)):
                        await self.interrupted.wait()
                except TimeoutError:
                    pass
            if self.interrupted.is_set():
                raise Interrupted
            if steps:
                self._tell_step(step + 1, steps)
        await asyncio.sleep(0)

    def save(self, pictures: tuple[Picture, ...], prefix: str, folder: str) -> list[dict[str, str]]:
        if escapes(prefix):
            raise NodeFailure("Exception", "Saving image outside the output folder is not allowed.")
        texts = {"prompt": self.graph, **(self.extra_data.get("extra_pnginfo") or {})}
        files = self._executor.folders.save(pictures, prefix, folder, texts)
        self.log.prompt, self.log.seed = pictures[0].prompt, pictures[0].seed
        self.log.images += [
            LoggedImage(self.node_id, file, picture) for file, picture in zip(files, pictures, strict=True)
        ]
        return [file.reference for file in files]

    async def send_pictures(self, pictures: tuple[Picture, ...]) -> None:
        for done, picture in enumerate(pictures):
            self._tell_step(done, len(pictures))
            png, _ = await asyncio.to_thread(encode, picture, {})
            self._sockets.send_png(png, self.client_id)

    def upload(self, name: str) -> Picture:
        subfolder, _, filename = name.rpartition("/")
        file = self._executor.folders.find(filename, subfolder, "input")
        if file is None or file.content is None:
            raise NodeFailure("FileNotFoundError", f"No such file: {name}")
        return Picture.of_upload(file.content)

    # -- what stays

    def history_entry(self, *, succeeded: bool) -> dict[str, Any]:
        return {
            "prompt": list(self._item),
            "outputs": self._shown,
            "status": {
                "status_str": "success" if succeeded else "error",
                "completed": succeeded,
                "messages": self._messages,
            },
            "meta": {
                node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
                for node in self._shown
            },
        }
