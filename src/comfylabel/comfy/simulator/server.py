"""A ComfyUI without a GPU: the same endpoints and oddities, pictures that say what they are, faults on request.

It never pretends outside the protocol: its device, its pictures and its pages say that it is simulated.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from comfylabel.comfy.simulator import control, jobs_api, prompt_api, view_api, worker_api
from comfylabel.comfy.simulator.execution import Executor
from comfylabel.comfy.simulator.faults import Faults
from comfylabel.comfy.simulator.files import Folders
from comfylabel.comfy.simulator.image_nodes import ALL_CLASSES
from comfylabel.comfy.simulator.log_file import LogFile
from comfylabel.comfy.simulator.node_class import NodeClass
from comfylabel.comfy.simulator.packed import Packed
from comfylabel.comfy.simulator.proxy import proxy
from comfylabel.comfy.simulator.queue import SubmissionQueue
from comfylabel.comfy.simulator.releases import Release
from comfylabel.comfy.simulator.sockets import Sockets
from comfylabel.comfy.simulator.submission_log import LoggedSubmission

Handler = Callable[["Simulator", web.Request], Awaitable[web.StreamResponse]]

DEFAULT_VERSION = "0.28.1"
KEPT_REQUESTS = 20_000  # (method, path), for tests; a worker that is polled for days forgets the oldest
# One image of 1024 x 1024 for each 2 GB: about what an SDXL worker can batch.
PIXELS_PER_GB = 1024 * 1024 // 2
DEFAULT_FILES = {
    "checkpoints": ("sd15-simulated.safetensors", "sdxl-simulated.safetensors", "tiny-random-fp16.safetensors"),
    "diffusion_models": ("flux-simulated.safetensors",),
    "text_encoders": ("clip-l-simulated.safetensors", "t5xxl-simulated.safetensors"),
    "vae": ("vae-simulated.safetensors",),
    "loras": ("style-simulated.safetensors",),
    "controlnet": ("canny-simulated.safetensors",),
}


class Simulator:
    """One worker. `log` is what it was asked for, `faults` what it shall get wrong; both may be used while it runs."""

    def __init__(
        self,
        *,
        version: str = DEFAULT_VERSION,
        job_seconds: float = 0.0,
        vram_gb: float = 24.0,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
        files: dict[str, Iterable[str]] | None = None,
        missing_nodes: Iterable[str] = (),
        api_key: str | None = None,
        required_headers: Mapping[str, str] | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.release = Release(version)
        self.vram_bytes = int(vram_gb * 2**30)
        self.faults = faults or Faults()
        self.faults.missing_nodes |= set(missing_nodes)
        self.api_key = api_key
        self.required_headers = dict(required_headers or {})
        self.log: list[LoggedSubmission] = []
        self.requests: deque[tuple[str, str]] = deque(maxlen=KEPT_REQUESTS)
        self.queue = SubmissionQueue()
        self.log_file = LogFile(log_file)
        self.folders = Folders()
        self.folders.on_drawn = self.log_file.drawn
        self.sockets = Sockets(self.release, self.faults)
        self.executor = Executor(
            self.queue,
            self.folders,
            self.sockets,
            self.faults,
            self.release,
            ALL_CLASSES,
            self.log_file,
            job_seconds,
            int(vram_gb * PIXELS_PER_GB),
        )
        self.next_number = 0
        self._files = {folder: list(names) for folder, names in (DEFAULT_FILES | (files or {})).items()}
        self._logged: dict[int, LoggedSubmission] = {}
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._background: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def job_seconds(self) -> float:
        return self.executor.job_seconds

    @job_seconds.setter
    def job_seconds(self, seconds: float) -> None:
        self.executor.job_seconds = seconds

    async def start(self) -> None:
        """Listens; a port of 0 becomes a free one, and the same again after a restart."""
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True)
        await site.start()
        assert site._server is not None  # noqa: SLF001 - aiohttp has no public way to a port of its choice
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        self.log_file.up(self.url)
        self._start_background()

    def _start_background(self) -> None:
        self._background = [
            asyncio.create_task(self.executor.run_forever(self._logged)),
            asyncio.create_task(self.sockets.publish()),
        ]

    async def stop(self) -> None:
        """Goes away in the middle of whatever it does. Queue, history, cache, temp files and the submission counter
        are gone, as with a real one; the log and the files on its disk stay.
        """
        await self._end_background()
        await self.sockets.close_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.forget()

    async def crash(self) -> None:
        """Forgets as a restart does, in no time and on the same listening socket."""
        await self._end_background()
        await self.sockets.close_all()
        self.forget()
        self._start_background()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def _end_background(self) -> None:
        for task in self._background:
            task.cancel()
        for task in self._background:
            with suppress(asyncio.CancelledError):
                await task
        self._background = []

    def forget(self) -> None:
        self.log_file.forgot()
        self.queue.forget_everything()
        self.executor.forget()
        self.folders.empty_temp()
        self._logged.clear()
        self.next_number = 0

    def classes(self) -> dict[str, NodeClass]:
        missing = self.faults.missing_nodes
        return {name: node for name, node in ALL_CLASSES.items() if name not in missing} if missing else ALL_CLASSES

    def files(self) -> dict[str, list[str]]:
        """What this worker has, by folder; uploads under `input`."""
        missing = self.faults.missing_models
        have = {folder: [name for name in names if name not in missing] for folder, names in self._files.items()}
        return have | {"input": self.folders.names("input")}

    def accept(self, item: Any) -> None:
        """Queues a valid submission. Raises TypeError after queueing, where ComfyUI's heap does."""
        number, identity, graph, extra_data, _ = item
        entry = LoggedSubmission(identity, number, extra_data.get("client_id"), Packed(graph), time.time())
        self.log_file.post(entry, graph)
        self.log.append(entry)
        self._logged[id(graph)] = entry
        try:
            self.queue.put(item)
        finally:
            self.executor.wake.set()
            self.sockets.send("status", {"status": self.executor.status()})

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[proxy(self)], client_max_size=100 * 2**20)
        for routes in (prompt_api.ROUTES, worker_api.ROUTES, view_api.ROUTES):
            for method, path, handler in routes:
                self._add(application, method, path, handler)
                self._add(application, method, f"/api{path}", handler)
        for method, path, handler in (*jobs_api.ROUTES, *control.ROUTES):
            self._add(application, method, path, handler)
        return application

    def _add(self, application: web.Application, method: str, path: str, handler: Handler) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(self, request)

        application.router.add_route(method, path, handle)
        if method == "GET" and path.endswith("/view"):
            application.router.add_route("HEAD", path, handle)


@asynccontextmanager
async def running_simulator(**options: Any) -> AsyncIterator[Simulator]:
    """A Simulator with these options on a free port, stopped at the end."""
    simulator = Simulator(**options)
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()
        simulator.log_file.close()
