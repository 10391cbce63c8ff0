"""Workflows are uploaded, validated against what healthy workers offer, and fixed once a task uses them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from comfylabel.comfy.graph import Bindings, Graph, parse_graph
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import Conflict, NoHealthyWorker, NotFound
from comfylabel.http.pagination import decode_cursor, encode_cursor
from comfylabel.workflows import repository
from comfylabel.workflows.eligibility import missing_on
from comfylabel.workflows.metadata import parse_metadata
from comfylabel.workflows.schemas import (
    Ceilings,
    GivenBindings,
    GivenLimits,
    Line,
    Workflow,
    WorkflowChange,
    WorkflowRow,
)
from comfylabel.workflows.validation import Given, Verdict, validate

# (worker name, its /object_info) of every healthy worker that answered; empty when none did.
ObjectInfos: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]
ObjectInfoSource: TypeAlias = Callable[[], Awaitable[ObjectInfos]]


class WorkflowService:
    def __init__(self, database: Database, *, ceilings: Ceilings, object_info_source: ObjectInfoSource) -> None:
        self.database = database
        self.ceilings = ceilings
        self.object_info_source = object_info_source

    async def create(self, *, file: bytes, metadata: str | bytes) -> tuple[Workflow, tuple[str, ...]]:
        """The stored workflow and the kinds of bindings that were found in the graph. Stores nothing on refusal."""
        wanted = parse_metadata(metadata)
        graph = await asyncio.to_thread(parse_graph, file)
        given = Given(wanted.bindings, wanted, wanted.model)
        verdict = await self._judge(graph, given, self.ceilings)
        async with self.database.transaction() as connection:
            workflow = await repository.insert(
                connection,
                uuid7(),
                name=wanted.name,
                version=wanted.version,
                model=verdict.model,
                raw_definition=graph,
                **_judged(verdict),
            )
        if workflow is None:
            raise Conflict(
                f"There is a workflow {wanted.name!r} of version {wanted.version!r} already; give this another one.",
                code="name_taken",
            )
        return workflow, verdict.proposed

    async def list_workflows(self, *, cursor: str | None, limit: int) -> tuple[list[WorkflowRow], str | None]:
        position = decode_cursor(cursor, {"id": uuid.UUID})
        async with self.database.connection() as connection:
            rows = await repository.list_rows(connection, before=position["id"] if position else None, limit=limit + 1)
        return rows[:limit], encode_cursor({"id": rows[limit - 1].id}) if len(rows) > limit else None

    async def get(self, workflow_id: uuid.UUID) -> Workflow:
        async with self.database.connection() as connection:
            workflow = await repository.get(connection, workflow_id)
        if workflow is None:
            raise _no_workflow(workflow_id)
        return workflow

    async def change(self, workflow_id: uuid.UUID, change: WorkflowChange) -> Workflow:
        """Other bindings, lower limits; possible until a task uses the workflow."""
        stored = await self.get(workflow_id)
        bindings = _changed(stored.bindings, change.bindings)
        ceilings = Ceilings(
            max_batch_size=min(stored.max_batch_size, self.ceilings.max_batch_size),
            allow_controlnet=stored.limits.allow_controlnet and self.ceilings.allow_controlnet,
            allow_dynamic_resolution=stored.limits.allow_dynamic_resolution and self.ceilings.allow_dynamic_resolution,
            max_pixels=min(stored.limits.max_pixels, self.ceilings.max_pixels),
        )
        verdict = await self._judge(stored.raw_definition, Given(bindings, change, stored.model), ceilings)
        async with self.database.transaction() as connection:
            await self._refuse_if_changed_or_used(connection, stored)
            return await repository.update(connection, workflow_id, **_judged(verdict))

    async def _refuse_if_changed_or_used(self, connection: Connection, seen: Workflow) -> None:
        current = await repository.get_for_update(connection, seen.id)
        if current is None:
            raise _no_workflow(seen.id)
        if await repository.is_used(connection, seen.id):
            raise Conflict("A task uses this workflow; upload a new version to change it.", code="in_use")
        if (current.bindings, current.limits, current.max_batch_size) != (
            seen.bindings, seen.limits, seen.max_batch_size,
        ):  # fmt: skip
            raise Conflict("Somebody else changed this workflow at the same time; look at it again.", code="changed")

    async def verify(self, workflow_id: uuid.UUID) -> Workflow:
        """Ask the workers about a workflow that none could be asked about when it came; others are left as they are.

        Raises NoHealthyWorker when again none answers, and a 409 when they would refuse it.
        """
        stored = await self.get(workflow_id)
        if stored.status != "unverified":
            return stored
        verdict = await self._judge_stored(stored)
        if verdict.status == "unverified":
            raise NoHealthyWorker("No healthy worker could be asked whether it can run this workflow.")
        if verdict.refusal is not None:
            raise Conflict(verdict.refusal.message, code="workflow_invalid", data=verdict.refusal.data)
        async with self.database.transaction() as connection:
            await repository.set_status(connection, workflow_id, status=verdict.status, report=verdict.report)
        return replace(stored, status=verdict.status, report=verdict.report)

    async def _judge(self, graph: Graph, given: Given, ceilings: Ceilings) -> Verdict:
        """The best verdict of any healthy worker; raises its refusal."""
        verdict = await asyncio.to_thread(best_verdict, graph, await self.object_info_source(), given, ceilings)
        if verdict.refusal is not None:
            raise verdict.refusal
        return verdict

    async def _judge_stored(self, stored: Workflow) -> Verdict:
        given = Given(_changed(stored.bindings, None), GivenLimits(), stored.model)
        ceilings = Ceilings(
            stored.max_batch_size,
            stored.limits.allow_controlnet,
            stored.limits.allow_dynamic_resolution,
            stored.limits.max_pixels,
        )
        infos = await self.object_info_source()
        return await asyncio.to_thread(best_verdict, stored.raw_definition, infos, given, ceilings)


def best_verdict(graph: Graph, infos: ObjectInfos, given: Given, ceilings: Ceilings) -> Verdict:
    """One worker that can run it is enough; what the others lack is said."""
    if not infos:
        return validate(graph, None, given, ceilings)
    verdicts = [validate(graph, info, given, ceilings) for _, info in infos]
    ranks = [(verdict.refusal is not None, verdict.status != "valid") for verdict in verdicts]
    best = ranks.index(min(ranks))
    lines = []
    for position, (name, info) in enumerate(infos):
        missing = missing_on(graph, info) if position != best and ranks[position] != ranks[best] else []
        if missing:
            lines.append(Line("info", "not_on_every_worker", None, f"{name} lacks {' and '.join(missing)}."))
    return replace(verdicts[best], report=(*verdicts[best].report, *lines))


def _judged(verdict: Verdict) -> dict[str, Any]:
    """What a verdict says of a workflow, as its row holds it."""
    return {
        "max_batch_size": verdict.max_batch_size,
        "seed_mode": verdict.seed_mode,
        "status": verdict.status,
        "bindings": verdict.bindings,
        "limits": verdict.limits,
        "report": verdict.report,
        "validated_at": None if verdict.status == "unverified" else datetime.now(UTC),
    }


def _changed(stored: Bindings, change: GivenBindings | None) -> GivenBindings:
    """The stored bindings, with those kinds that a change names in their place."""
    named = change.model_dump(exclude_none=True) if change else {}
    return GivenBindings.model_validate(stored.to_json() | named)


def _no_workflow(workflow_id: uuid.UUID) -> NotFound:
    return NotFound(f"There is no workflow {workflow_id}.")
