"""A task of 50k prompts x 4 seeds from pools whose product is 10^12."""

import asyncio
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from uuid import UUID

from bench.baselines.copy_rows import copy_rows
from bench.figure import Figure
from comfylabel.accounts.schemas import Principal, Role
from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.ids import uuid7
from comfylabel.db.migrate import migrate
from comfylabel.db.pool import Connection, Database
from comfylabel.tasks.readiness import Readiness
from comfylabel.tasks.schemas import NewTask
from comfylabel.tasks.service import TaskService
from comfylabel.workers.inventories_repository import Known
from comfylabel.workers.schemas import Worker

PROMPTS, SEEDS = 50_000, 4
SMALL = PROMPTS // 10
POOLS = [f"pool {number}" for number in range(4)]  # of 1000 items each
TURNS = 3
TABLES = ("prompts", "seeds")

GRAPH = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a photo of {pool 0}, {pool 1}"}}}
BINDINGS = {"prompt": [{"node": "6", "input": "text"}]}
LIMITS = {"allow_controlnet": False, "allow_dynamic_resolution": False, "max_pixels": 1_048_576}


async def measure() -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="comfylabel-bench-"))
    server = EmbeddedPostgres(folder / "data")
    try:
        url = await server.start()
        await asyncio.to_thread(migrate, url)
        database = await Database.connect(url)
        try:
            return await _measure(database, url, folder)
        finally:
            await database.close()
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(database: Database, url: str, folder: Path) -> list[Figure]:
    async with database.transaction() as connection:
        workflow, operator = await _prepare(connection)
    create = _Create(
        TaskService(database, Readiness(database, _NoInventories(), _nobody_is_asked), _no_workflow), workflow, operator
    )
    await create.task(SMALL)  # warm: imports, connections, the catalogue
    small = await _peak_memory(create, SMALL)
    large = await _peak_memory(create, PROMPTS)
    created, copied = [], []
    for _ in range(TURNS):  # in turns, so that a busy moment hits both
        begun = time.perf_counter()
        task_id = await create.task(PROMPTS)
        created.append(time.perf_counter() - begun)
        copied.append(await _copy_again(database, url, folder, task_id))
    return [_time_figure(statistics.median(created), statistics.median(copied)), _memory_figure(large, small)]


class _Create:
    def __init__(self, service: TaskService, workflow: UUID, operator: Principal) -> None:
        self._service = service
        self._workflow = workflow
        self._operator = operator

    async def task(self, prompts: int) -> UUID:
        new = NewTask(
            workflow_id=self._workflow,
            variable_pool_ids=POOLS,
            target_prompts=prompts,
            seeds_per_prompt=SEEDS,
        )
        return await self._service.create_task(new, self._operator)


async def _copy_again(database: Database, url: str, folder: Path, task_id: UUID) -> float:
    """Take the task's rows out into files and time how long a bare COPY takes to put them back."""
    files = {table: folder / f"{table}.copy" for table in TABLES}
    async with database.connection() as connection:
        of_task = {"prompts": "task_id = $1", "seeds": "prompt_id in (select id from prompts where task_id = $1)"}
        for table, file in files.items():
            query = f"select * from {table} where {of_task[table]}"
            await connection.copy_from_query(query, task_id, output=file, format="binary")
        await connection.execute("delete from prompts where task_id = $1", task_id)
        await connection.execute("vacuum analyze")
    begun = time.perf_counter()
    await copy_rows(url, files)
    return time.perf_counter() - begun


async def _peak_memory(create: _Create, prompts: int) -> float:
    """MB of this process at most while the task is created."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    await create.task(prompts)
    found = re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1000


async def _prepare(connection: Connection) -> tuple[UUID, Principal]:
    user, workflow = uuid7(), uuid7()
    await connection.execute("insert into users (id, name, role) values ($1, 'bench', 'operator')", user)
    for name in POOLS:
        items = [f"{name} item {number}" for number in range(1000)]
        await connection.execute(
            "insert into variable_pools (id, name, version, mode, items) values ($1, $2, 1, 'no_replacement', $3)",
            uuid7(), name, items,
        )  # fmt: skip
    await connection.execute(
        "insert into workflows (id, name, version, model, max_batch_size, seed_mode, status, prompt_nodes, seed_nodes,"
        " forbidden_nodes, bindings, limits, report, raw_definition)"
        " values ($1, 'bench', '1', 'sdxl', 4, 'native', 'valid', '[]', '[]', '[]', $2, $3, '[]', $4)",
        workflow, BINDINGS, LIMITS, GRAPH,
    )  # fmt: skip
    return workflow, Principal(user, "bench", Role.OPERATOR, None)


class _NoInventories:
    async def known(self) -> dict[UUID, Known]:
        raise AssertionError("creating a task asks for no worker")

    async def ask(self, worker: Worker) -> str:
        raise AssertionError(f"creating a task asks no worker, and not {worker.name}")

    async def object_info(self, digest: str) -> None:
        raise AssertionError(f"creating a task reads no inventory, and not {digest}")


async def _nobody_is_asked(worker: Worker) -> str | None:
    raise AssertionError(worker)


async def _no_workflow(workflow_id: UUID) -> None:
    raise AssertionError(f"creating a task verifies nothing, and not {workflow_id}")


def _time_figure(created: float, copied: float) -> Figure:
    return Figure(
        "create_task", created, "s", copied, "<= 3x", lambda _, ratio: ratio <= 3,
        f"Median of {TURNS} times creating a task of {PROMPTS} prompts x {SEEDS} seeds from pools whose product is "
        "10^12, against a bare binary COPY of the same rows into the same tables, in turns.",
    )  # fmt: skip


def _memory_figure(large: float, small: float) -> Figure:
    return Figure(
        "create_task_memory", large, "MB", small, "<= 1.1x", lambda _, ratio: ratio <= 1.1,
        f"Highest resident memory of the process while it creates {PROMPTS} prompts x {SEEDS} seeds, against a tenth "
        "of them.",
    )  # fmt: skip
