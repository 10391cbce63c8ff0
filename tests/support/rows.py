"""Rows as the product would have written them, made by SQL so that a test starts in the middle of the story.

    worker = await add_worker(connection)
    task = await add_task(connection, state="DONE", prompts=3, seeds=4, worker_id=worker)
    ann = await add_user(connection, "ann")
    await annotate(connection, task.batches[0], ann, chosen=1, rejected=0)

Everything follows from the numbers given: seed j of prompt i is 1000 * (i + 1) + j, its text is "prompt i",
and every hash is that of the row's own id.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection


@dataclass(frozen=True, slots=True)
class TaskRows:
    """Ids in order of position; `generations[i]` are the N of prompt i."""

    id: UUID
    workflow_id: UUID
    worker_id: UUID
    prompts: list[UUID] = field(default_factory=list)
    batches: list[UUID] = field(default_factory=list)
    generations: list[list[UUID]] = field(default_factory=list)


async def add_user(connection: Connection, name: str = "ann", role: str = "annotator") -> UUID:
    user_id = uuid7()
    await connection.execute("insert into users (id, name, role) values ($1, $2, $3)", user_id, name, role)
    return user_id


async def add_worker(connection: Connection, name: str = "gpu-1", **columns: Any) -> UUID:
    """HEALTHY, enabled and checked just now unless `columns` say otherwise."""
    return await _insert(
        connection,
        "workers",
        {
            "name": name,
            "base_url": "http://127.0.0.1:8188",
            "status": "HEALTHY",
            "last_checked_at": datetime.now(UTC),
        }
        | columns,
    )


GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 0, "steps": 20, "positive": ["6", 0], "latent_image": ["10", 0]},
    },
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "ComfyUI"}},
    "10": {
        "class_type": "LatentBatchSeedBehavior",
        "inputs": {"samples": ["5", 0], "seed_behavior": "random"},
    },
}
BINDINGS = {
    "prompt": [{"node": "6", "input": "text"}],
    "seed": [{"node": "3", "input": "seed"}],
    "width": [{"node": "5", "input": "width"}],
    "height": [{"node": "5", "input": "height"}],
    "batch_size": [{"node": "5", "input": "batch_size"}],
    "images": ["9"],
}
LIMITS = {"allow_controlnet": False, "allow_dynamic_resolution": True, "max_pixels": 1572864}


async def add_workflow(connection: Connection, name: str = "summer-sdxl", **columns: Any) -> UUID:
    return await _insert(
        connection,
        "workflows",
        {
            "name": name,
            "version": "3",
            "model": "sdxl",
            "max_batch_size": 4,
            "seed_mode": "native",
            "status": "valid",
            "prompt_nodes": ["6"],
            "seed_nodes": ["3"],
            "forbidden_nodes": [],
            "bindings": BINDINGS,
            "limits": LIMITS,
            "report": [],
            "raw_definition": GRAPH,
        }
        | columns,
    )


async def add_pool(connection: Connection, name: str, items: Sequence[str], **columns: Any) -> UUID:
    return await _insert(
        connection,
        "variable_pools",
        {"name": name, "version": 1, "mode": "permutation", "items": list(items)} | columns,
    )


async def add_task(
    connection: Connection,
    state: str = "DRAFT",
    *,
    prompts: int = 2,
    seeds: int = 4,
    batch_size: int = 4,
    workflow_id: UUID | None = None,
    worker_id: UUID | None = None,
    texts: Sequence[str] = (),
    variables: dict[str, str] | None = None,
    finished: bool | None = None,
    failed: Collection[int] = (),
    **columns: Any,
) -> TaskRows:
    """`finished`: whether all images were made, but for the positions in `failed`, and all batches are ready.

    By default that is so in DONE only.
    """
    task = TaskRows(
        uuid7(),
        workflow_id or await add_workflow(connection, f"workflow-{uuid4().hex[:8]}"),
        worker_id or await add_worker(connection, f"worker-{uuid4().hex[:8]}"),
    )
    defaults = {
        "workflow_id": task.workflow_id,
        "state": "DRAFT",
        "target_prompts": prompts,
        "seeds_per_prompt": seeds,
        "variable_pool_ids": [],
        "variable_pool_version": "v5",
        "sampling_seed": 7,
        "seed_mode": "native" if batch_size > 1 else "loop",
        "batch_size": batch_size,
    }
    await _insert(connection, "tasks", defaults | columns, task.id)
    await _add_plan(
        connection,
        task,
        seeds=seeds,
        variables=variables or {},
        texts=[*texts, *(f"prompt {i}" for i in range(len(texts), prompts))],
    )
    if state != "DRAFT":
        await _freeze(connection, task, seeds, state)
        if finished if finished is not None else state == "DONE":
            await finish_batches(connection, task.batches, failed=failed)
    return task


async def finish_batches(
    connection: Connection,
    batches: Sequence[UUID],
    *,
    failed: Collection[int] = (),
    ready_at: datetime | None = None,
) -> None:
    """Their images are done, but for the positions in `failed`; the done ones are candidates in order."""
    await connection.execute(_FINISH_GENERATIONS, list(batches), list(failed))
    await connection.execute(_FAIL_GENERATIONS, list(batches), list(failed))
    await connection.execute(_FINISH_BATCHES, list(batches), ready_at or datetime.now(UTC))


_FINISH_GENERATIONS = """
update generations g set
  state = 'done', candidate_index = made.candidate_index, submission_id = gen_random_uuid(),
  worker_id = (metadata ->> 'planned_worker')::uuid, checksum = made.hash,
  bytes = 1750000, width = 1024, height = 1024,
  image_uri = made.folder || '.png', thumbnail_uri = made.folder || '.256.webp',
  tile_uri = made.folder || '.640.webp', preview_uri = made.folder || '.1024.webp',
  metadata = '{"workflow_version": "3", "model": "sdxl", "resolution": "1024x1024"}'
from (
  select id, hash, format('tasks/%s/2026/11/22/%s/%s', task_id, left(hash, 2), hash) as folder,
         row_number() over (partition by batch_id order by position) - 1 as candidate_index
  from (select id, task_id, batch_id, position, encode(sha256(convert_to(id::text, 'UTF8')), 'hex') as hash
        from generations where batch_id = any($1) and position <> all($2::int[])) hashed
) made where made.id = g.id
"""

_FAIL_GENERATIONS = "update generations set state = 'failed' where batch_id = any($1) and position = any($2::int[])"

_FINISH_BATCHES = """
update batches b set done = made.done, failed = made.failed, candidates = made.done, ready_at = $2
from (select batch_id, count(*) filter (where state = 'done') as done,
             count(*) filter (where state = 'failed') as failed
      from generations where batch_id = any($1) group by batch_id) made
where made.batch_id = b.id
"""


async def annotate(
    connection: Connection,
    batch_id: UUID,
    user_id: UUID,
    *,
    chosen: int | None = None,
    rejected: int | None = None,
    kind: str = "choice",
    surplus: bool = False,
    created_at: datetime | None = None,
) -> UUID:
    """What `user_id` said about the batch; `chosen` and `rejected` are candidate indexes."""
    annotation_id = uuid7()
    moment = created_at or datetime.now(UTC)
    await connection.execute(_ANNOTATE, annotation_id, batch_id, user_id, kind, chosen, rejected, surplus, moment)
    await connection.execute(_COUNT_ANSWER, batch_id, user_id, kind != "skip" and not surplus, moment)
    if kind == "spam":
        await connection.execute("update batches set spam_at = coalesce(spam_at, $2) where id = $1", batch_id, moment)
    return annotation_id


_ANNOTATE = """
insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, rejected_index,
                         chosen_generation_id, rejected_generation_id, spam, surplus, created_at, updated_at)
select $1, b.id, b.task_id, b.prompt_id, $3, $4, $5, $6,
       (select id from generations where batch_id = b.id and candidate_index = $5),
       (select id from generations where batch_id = b.id and candidate_index = $6),
       $4 = 'spam', $7, $8, $8
from batches b where b.id = $2
"""

# A lease and its answer take one place between them.
_COUNT_ANSWER = """
with consumed as (
  delete from leases where batch_id = $1 and user_id = $2 returning batch_id
), counted as (
  update batches set taken = taken + $3::boolean::int - (select count(*) from consumed) where id = $1 returning task_id
)
insert into labellers (task_id, user_id, seen_at, answered) select task_id, $2, $4, 1 from counted
on conflict (task_id, user_id) do update set answered = labellers.answered + 1
"""


async def _add_plan(
    connection: Connection, task: TaskRows, *, texts: Sequence[str], variables: dict[str, str], seeds: int
) -> None:
    task.prompts.extend(uuid7() for _ in texts)
    await connection.execute(_ADD_PROMPTS, task.id, task.prompts, texts, variables)
    await connection.copy_records_to_table(
        "seeds",
        columns=["id", "prompt_id", "position", "seed_value"],
        records=[
            (uuid7(), prompt_id, j, 1000 * (i + 1) + j)
            for i, prompt_id in enumerate(task.prompts)
            for j in range(seeds)
        ],
    )


_ADD_PROMPTS = """
insert into prompts (id, task_id, position, text, variables)
select id, $1, number - 1, text, $4
from unnest($2::uuid[], $3::text[]) with ordinality as planned (id, text, number)
"""


async def _freeze(connection: Connection, task: TaskRows, seeds: int, state: str) -> None:
    await connection.execute(_FREEZE, task.id, state)
    task.batches.extend(uuid7() for _ in task.prompts)
    await connection.copy_records_to_table(
        "batches",
        columns=["id", "task_id", "prompt_id", "position", "total"],
        records=[
            (batch_id, task.id, prompt_id, i, seeds)
            for i, (batch_id, prompt_id) in enumerate(zip(task.batches, task.prompts, strict=True))
        ],
    )
    task.generations.extend([uuid7() for _ in range(seeds)] for _ in task.prompts)
    await connection.execute(
        _PLAN_GENERATIONS,
        task.id,
        [generation_id for row in task.generations for generation_id in row],
        seeds,
        str(task.worker_id),
    )


_FREEZE = """
update tasks set state = $2, frozen_snapshot = '{"counts": {}, "overrides": {}}', frozen_at = now(),
  digest = 'sha256:' || encode(sha256(convert_to(id::text, 'UTF8')), 'hex'),
  started_at = case when $2 = 'FROZEN' then null else now() end,
  ended_at = case when $2 in ('DONE', 'FAILED') then now() end,
  end_reason = case when $2 = 'FAILED' then 'cancelled' end
where id = $1
"""

# As the freeze makes them: a chunk is sent with the seed of its first image.
_PLAN_GENERATIONS = """
insert into generations (id, task_id, prompt_id, seed_id, batch_id, position, chunk, seed_value, batch_index,
                         batch_size, metadata)
select planned.id, b.task_id, b.prompt_id, s.id, b.id, planned.position, planned.position / t.batch_size,
       s.seed_value, planned.position % t.batch_size,
       least(t.batch_size, t.seeds_per_prompt - planned.position / t.batch_size * t.batch_size),
       jsonb_build_object('planned_worker', $4::text)
from (select id, (number - 1) / $3 as prompt, ((number - 1) % $3)::int as position
      from unnest($2::uuid[]) with ordinality as ids (id, number)) planned
join batches b on b.task_id = $1 and b.position = planned.prompt
join tasks t on t.id = b.task_id
join seeds s on s.prompt_id = b.prompt_id and s.position = planned.position / t.batch_size * t.batch_size
"""


async def _insert(connection: Connection, table: str, columns: dict[str, Any], row_id: UUID | None = None) -> UUID:
    columns = {"id": row_id or uuid7()} | columns
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await connection.execute(f"insert into {table} ({', '.join(columns)}) values ({places})", *columns.values())
    new_id: UUID = columns["id"]
    return new_id
