"""kill -9 during a run of `comfylabel up`: of the orchestrator alone, of its parent alone, of everything.

Then K x N images are there, none twice, as the simulated worker's own log says; it lives in this process and goes on.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from comfylabel.comfy.simulator import running_simulator
from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.pool import Database
from tests.cli.conftest import Command, started, until_gone
from tests.cli.test_up import until_up
from tests.pipeline.test_exactly_once import check_truth
from tests.support.app import token_of
from tests.support.pipeline import Line
from tests.support.waiting import until

pytestmark = pytest.mark.slow

PROMPTS, SEEDS = 8, 4


@asynccontextmanager
async def running_up(data_dir: Path) -> AsyncIterator[tuple[Command, Line]]:
    async with started(data_dir, "up", "--port", "0") as command:
        origin = await until_up(command)
        link = (await command.read_until(r"(http://\S+token=\S+)")).group(1)
        database = await Database.connect(EmbeddedPostgres(data_dir / "postgres").url)
        async with httpx.AsyncClient(base_url=origin, headers={"origin": origin}, timeout=60) as admin:
            assert (await admin.post("/api/auth/link", json={"token": token_of(link)})).status_code == 200
            yield command, Line(admin, database)
        await database.close()


@pytest.mark.timeout(300)
async def test_whatever_is_killed_every_image_is_made_and_none_twice(tmp_path: Path) -> None:
    async with running_simulator(job_seconds=0.3) as simulator:
        async with running_up(tmp_path) as (command, line):
            await line.add_worker(simulator.url, max_concurrent_jobs=2)
            task = await line.frozen_task(prompts=PROMPTS, seeds=SEEDS, max_batch_size=2)
            await line.run(task)
            await until(lambda: len(simulator.log) >= 3)
            orchestrator = command.child("orchestrate")
            assert orchestrator is not None
            orchestrator.kill()
            killed_at = len(simulator.log)
            await until(lambda: len(simulator.log) >= killed_at + 3, 60)  # another one goes on with the same task
            everything = command.everything()
            command.process.kill()
            await command.process.wait()
            await until_gone(everything)

        async with running_up(tmp_path) as (command, line):
            assert (await line.progress(task))["state"] == "RUNNING"
            await until(lambda: len(simulator.log) >= 10, 60)
            everything = command.everything()
            command.kill_everything()
            await command.process.wait()
            await until_gone(everything)

        async with running_up(tmp_path) as (command, line):
            assert (await line.progress(task))["state"] == "RUNNING"
            assert (await line.until_ended(task, 120))["state"] == "DONE"
            await check_truth(line, task, simulator)
            assert len(await line.images(task)) == PROMPTS * SEEDS
