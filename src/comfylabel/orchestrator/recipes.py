"""What a frozen task sends, read from its snapshot once: a snapshot never changes."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph
from comfylabel.db.pool import Database
from comfylabel.orchestrator import repository

# Graphs are some tens of kB; more tasks than this do not run side by side.
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """`metadata` goes into every generation's row; width and height only where the pilot lowered them."""

    graph: Graph
    bindings: Bindings
    width: int | None
    height: int | None
    metadata: dict[str, object]


class Recipes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._recipes: OrderedDict[UUID, Recipe] = OrderedDict()
        self._reading = asyncio.Lock()  # a task's first hundred jobs come together: one of them reads

    async def of(self, task_id: UUID) -> Recipe:
        recipe = self._recipes.get(task_id)
        if recipe is None:
            async with self._reading:
                recipe = self._recipes.get(task_id) or await self._read(task_id)
                self._recipes[task_id] = recipe
                while len(self._recipes) > _KEPT:
                    self._recipes.popitem(last=False)
        else:
            self._recipes.move_to_end(task_id)
        return recipe

    async def _read(self, task_id: UUID) -> Recipe:
        async with self._database.connection() as connection:
            snapshot = await repository.frozen_snapshot(connection, task_id)
        overrides = snapshot.get("overrides") or {}
        return Recipe(
            graph=snapshot["graph"],
            bindings=Bindings.from_json(snapshot["bindings"]),
            width=overrides.get("width"),
            height=overrides.get("height"),
            metadata={
                "workflow_version": snapshot["workflow"]["version"],
                "model": snapshot["workflow"]["model"],
            },
        )
