"""All SQL on `workflows`."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from comfylabel.comfy.graph import Bindings
from comfylabel.db.pool import Connection, Record
from comfylabel.workflows.schemas import Limits, Line, Workflow, WorkflowRow

_COLUMNS = """
  id, name, version, model, max_batch_size, seed_mode, status, bindings, limits, report, raw_definition,
  validated_at, created_at
"""

_GET = f"select {_COLUMNS} from workflows where id = $1"


async def get(connection: Connection, workflow_id: uuid.UUID) -> Workflow | None:
    row = await connection.fetchrow(_GET, workflow_id)
    return _workflow(row) if row else None


_GET_FOR_UPDATE = f"select {_COLUMNS} from workflows where id = $1 for update"


async def get_for_update(connection: Connection, workflow_id: uuid.UUID) -> Workflow | None:
    """Also keeps tasks from being made of it until the transaction ends."""
    row = await connection.fetchrow(_GET_FOR_UPDATE, workflow_id)
    return _workflow(row) if row else None


_IS_USED = "select exists (select from tasks where workflow_id = $1)"


async def is_used(connection: Connection, workflow_id: uuid.UUID) -> bool:
    used: bool = await connection.fetchval(_IS_USED, workflow_id)
    return used


_INSERT = f"""
insert into workflows (
  id, name, version, model, max_batch_size, seed_mode, status, bindings, limits, report, raw_definition,
  validated_at, prompt_nodes, seed_nodes, forbidden_nodes)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '[]')
on conflict (name, version) do nothing
returning {_COLUMNS}
"""


async def insert(
    connection: Connection,
    workflow_id: uuid.UUID,
    *,
    name: str,
    version: str,
    model: str,
    max_batch_size: int,
    seed_mode: str,
    status: str,
    bindings: Bindings,
    limits: Limits,
    report: Sequence[Line],
    raw_definition: dict[str, Any],
    validated_at: datetime | None,
) -> Workflow | None:
    """None when the name has this version already."""
    row = await connection.fetchrow(
        _INSERT,
        workflow_id,
        name,
        version,
        model,
        max_batch_size,
        seed_mode,
        status,
        bindings.to_json(),
        limits.to_json(),
        [asdict(line) for line in report],
        raw_definition,
        validated_at,
        nodes_of(bindings.prompt),
        nodes_of(bindings.seed),
    )
    return _workflow(row) if row else None


_UPDATE = f"""
update workflows set
  max_batch_size = $2, seed_mode = $3, status = $4, bindings = $5, limits = $6, report = $7, validated_at = $8,
  prompt_nodes = $9, seed_nodes = $10
where id = $1
returning {_COLUMNS}
"""


async def update(
    connection: Connection,
    workflow_id: uuid.UUID,
    *,
    max_batch_size: int,
    seed_mode: str,
    status: str,
    bindings: Bindings,
    limits: Limits,
    report: Sequence[Line],
    validated_at: datetime | None,
) -> Workflow:
    row = await connection.fetchrow(
        _UPDATE,
        workflow_id,
        max_batch_size,
        seed_mode,
        status,
        bindings.to_json(),
        limits.to_json(),
        [asdict(line) for line in report],
        validated_at,
        nodes_of(bindings.prompt),
        nodes_of(bindings.seed),
    )
    assert row is not None
    return _workflow(row)


_SET_STATUS = "update workflows set status = $2, report = $3, validated_at = now() where id = $1"


async def set_status(connection: Connection, workflow_id: uuid.UUID, *, status: str, report: Sequence[Line]) -> None:
    """What a worker says of a workflow that none could be asked about before; nothing that a task has copied."""
    await connection.execute(_SET_STATUS, workflow_id, status, [asdict(line) for line in report])


_LIST = """
select id, name, version, model, max_batch_size, seed_mode, status, validated_at, created_at
from workflows
where $1::uuid is null or id < $1
order by id desc
limit $2
"""


async def list_rows(connection: Connection, *, before: uuid.UUID | None, limit: int) -> list[WorkflowRow]:
    """Newest first."""
    rows = await connection.fetch(_LIST, before, limit)
    return [WorkflowRow(**dict(row)) for row in rows]


def nodes_of(refs: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(ref.node for ref in refs))


def _workflow(row: Record) -> Workflow:
    values = dict(row)
    return Workflow(
        **values
        | {
            "bindings": Bindings.from_json(values["bindings"]),
            "limits": Limits.from_json(values["limits"]),
            "report": tuple(Line(**line) for line in values["report"]),
        }
    )
