"""The services of tasks on a real database; workers say of their nodes what `OBJECT_INFO` says."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from comfylabel.accounts.schemas import Principal, Role
from comfylabel.comfy.errors import WorkerError
from comfylabel.db.pool import Database
from comfylabel.tasks.pilot_service import PilotService
from comfylabel.tasks.progress_service import ProgressService
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.readiness import Readiness
from comfylabel.tasks.service import TaskService
from comfylabel.workers.inventories_repository import Known
from comfylabel.workers.schemas import Worker
from tests.support.rows import GRAPH, add_user

OBJECT_INFO: dict[str, Any] = {
    str(node["class_type"]): {"input": {"required": {}, "optional": {}}, "output": [], "api_node": False}
    for node in GRAPH.values()
}


class Said:
    """Inventories of workers that all say the same when they are asked, or do not answer."""

    def __init__(self, object_info: Mapping[str, Any], error: WorkerError | None = None) -> None:
        self._object_info = object_info
        self._error = error

    async def known(self) -> dict[UUID, Known]:
        return {}

    async def ask(self, worker: Worker) -> str:
        if self._error is not None:
            raise self._error
        return f"what {worker.name} has"

    async def object_info(self, digest: str) -> Mapping[str, Any]:
        assert digest.startswith("what ")
        return self._object_info


async def verified(workflow_id: UUID) -> None:
    """Of a workflow that workers have judged already."""


async def alive(worker: Worker) -> None:
    """Every worker answers."""


@pytest.fixture
async def operator(database: Database) -> Principal:
    async with database.connection() as connection:
        return Principal(await add_user(connection, "op", "operator"), "op", Role.OPERATOR, None)


@pytest.fixture
def tasks(database: Database) -> TaskService:
    return TaskService(database, Readiness(database, Said(OBJECT_INFO), alive), verified)


@pytest.fixture
def progress(database: Database) -> ProgressService:
    return ProgressService(database, Readiness(database, Said(OBJECT_INFO), alive))


@pytest.fixture
def prompts(database: Database) -> PromptService:
    return PromptService(database)


@pytest.fixture
def pilots(database: Database, tasks: TaskService) -> PilotService:
    return PilotService(database, tasks, wait_seconds=30)
