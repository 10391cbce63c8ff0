"""A simulated worker as a process of its own, whose log lives on when it is killed.

python -m tests.chaos.worker PORT LOG_FILE JOB_SECONDS
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from comfylabel.comfy.simulator import Faults, Simulator
from comfylabel.comfy.simulator.pictures import Picture
from tests.chaos.wire_log import LoggingQueue, WireLog, sent_values


class LoggedFaults(Faults):
    """Telling which of them struck: one that was wished for meets nobody when nobody asks."""

    def __init__(self, log: WireLog) -> None:
        super().__init__()
        self._log = log

    def take(self, name: str) -> bool:
        strikes = super().take(name)
        if strikes:
            self._log.write("struck", fault=name)
        return strikes


class LoggedSimulator(Simulator):
    """Late POSTs are read at once and queued so many seconds later, whoever still waits for an answer."""

    def __init__(self, log: WireLog, **options: Any) -> None:
        super().__init__(faults=LoggedFaults(log), **options)
        self.wire_log = log
        self.late_posts, self.late_seconds = 0, 0.0
        queue = LoggingQueue(log)
        self.queue = self.executor.queue = queue
        save = self.folders.save

        def save_and_note(pictures: tuple[Picture, ...], prefix: str, folder: str, texts: dict[str, Any]) -> Any:
            files = save(pictures, prefix, folder, texts)
            for file, picture in zip(files, pictures, strict=True):
                queue.pictures[file.folder, file.subfolder, file.name] = picture
            return files

        self.folders.save = save_and_note  # type: ignore[method-assign]

    def _application(self) -> web.Application:
        application = super()._application()
        application.middlewares.insert(0, self._wire)
        application.router.add_post("/simulator/late", self._be_late)
        return application

    @web.middleware
    async def _wire(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST" and request.path.endswith("/prompt"):
            body = json.loads(await request.text())
            self.wire_log.write("post", id=body.get("prompt_id"), **sent_values(body["prompt"]))
            if self.late_posts:
                self.late_posts -= 1
                self.wire_log.write("struck", fault="late_post")
                await asyncio.sleep(self.late_seconds)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _be_late(self, request: web.Request) -> web.StreamResponse:
        wishes = await request.json()
        self.late_posts, self.late_seconds = wishes["posts"], wishes["seconds"]
        return web.Response()


async def main(port: int, log_file: Path, job_seconds: float) -> None:
    log = WireLog(log_file)
    log.write("up")
    simulator = LoggedSimulator(log, port=port, job_seconds=job_seconds)
    await simulator.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
