"""What workflows lack in inventories. Neither ever changes, so each pair is worked out once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import structlog

from comfylabel.db.pool import Database
from comfylabel.workflows import repository
from comfylabel.workflows.eligibility import missing_on

log = structlog.get_logger()

# By digest; None for one that nobody keeps any more.
ObjectInfos: TypeAlias = Callable[[str], Awaitable[Mapping[str, Any] | None]]
Missing: TypeAlias = tuple[str, ...]

# A hundred workers that are all different, and as many workflows.
_REMEMBERED = 10_000


class Lacking:
    def __init__(self, database: Database, object_info: ObjectInfos) -> None:
        self._database = database
        self._object_info = object_info
        self._worked_out: OrderedDict[tuple[str, UUID], Missing] = OrderedDict()

    def known(self, digest: str, workflow_id: UUID) -> Missing | None:
        """None when it was not worked out yet."""
        return self._worked_out.get((digest, workflow_id))

    async def of(self, digest: str, workflow_id: UUID) -> Missing:
        """In words that follow "gpu-1 lacks"; nothing when it can run it."""
        missing = self.known(digest, workflow_id)
        if missing is None:
            missing = await self._work_out(digest, workflow_id)
            self._worked_out[digest, workflow_id] = missing
            while len(self._worked_out) > _REMEMBERED:
                self._worked_out.popitem(last=False)
        return missing

    async def _work_out(self, digest: str, workflow_id: UUID) -> Missing:
        object_info = await self._object_info(digest)
        async with self._database.connection() as connection:
            workflow = await repository.get(connection, workflow_id)
        if object_info is None or workflow is None:
            return ()
        try:
            return tuple(await asyncio.to_thread(missing_on, workflow.raw_definition, object_info))
        except Exception:  # a stranger's description that we cannot read: the worker itself will say what it lacks
            log.exception("eligibility_failed", workflow=str(workflow_id))
            return ()
