"""SQL on tasks and their pilots."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.notifications import notify
from comfylabel.db.pool import Connection, Record
from comfylabel.tasks.lifecycle import TaskState, Verb, next_state
from comfylabel.tasks.schemas import Pilot, PilotImage, Task

_SETTINGS = """
  id, workflow_id, state, notes, target_prompts, seeds_per_prompt, variable_pool_ids, variable_pool_version,
  sampling_seed, seed_mode, batch_size, overlap, blind, priority, ab_test_id, edits, digest, end_reason,
  frozen_at, started_at, paused_at, ended_at, created_by, created_at, updated_at
"""
_ALL = f"{_SETTINGS}, frozen_snapshot"
# The graph may be large: pages and polls do without.
_LIGHT = f"{_SETTINGS}, null::jsonb as frozen_snapshot"


# --- tasks

_GET = f"select {_ALL} from tasks where id = $1"
_GET_LIGHT = f"select {_LIGHT} from tasks where id = $1"


async def get(connection: Connection, task_id: UUID, *, with_snapshot: bool = True) -> Task | None:
    row = await connection.fetchrow(_GET if with_snapshot else _GET_LIGHT, task_id)
    return _task(row) if row else None


_LOCK = f"select {_ALL} from tasks where id = $1 for update"


async def lock(connection: Connection, task_id: UUID) -> Task | None:
    """For a change of state: every edit and every other change of state waits until the transaction ends."""
    row = await connection.fetchrow(_LOCK, task_id)
    return _task(row) if row else None


# An edit counts itself in the task's row, so FOR SHARE would make two edits wait for each other for ever. This mode is
# stronger than FOR SHARE (the guards' own) and still lets foreign keys to the task be checked.
_LOCK_FOR_EDIT = f"select {_LIGHT} from tasks where id = $1 for no key update"


async def lock_for_edit(connection: Connection, task_id: UUID) -> Task | None:
    """A freeze waits until the transaction ends, or this waits for the freeze and then sees its state."""
    row = await connection.fetchrow(_LOCK_FOR_EDIT, task_id)
    return _task(row) if row else None


_INSERT = """
insert into tasks (id, workflow_id, state, notes, target_prompts, seeds_per_prompt, variable_pool_ids,
  variable_pool_version, sampling_seed, seed_mode, batch_size, overlap, blind, ab_test_id, created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""


async def insert(
    connection: Connection,
    *,
    task_id: UUID,
    workflow_id: UUID,
    notes: str | None,
    target_prompts: int,
    seeds_per_prompt: int,
    variable_pool_ids: Sequence[UUID],
    variable_pool_version: str,
    sampling_seed: int,
    seed_mode: str,
    batch_size: int,
    overlap: int,
    blind: bool,
    ab_test_id: UUID | None,
    created_by: UUID | None,
) -> None:
    await connection.execute(
        _INSERT, task_id, workflow_id, TaskState.DRAFT, notes, target_prompts, seeds_per_prompt, variable_pool_ids,
        variable_pool_version, sampling_seed, seed_mode, batch_size, overlap, blind, ab_test_id, created_by,
    )  # fmt: skip


_AB_TEST_EXISTS = "select exists (select from ab_tests where id = $1)"


async def ab_test_exists(connection: Connection, ab_test_id: UUID) -> bool:
    return bool(await connection.fetchval(_AB_TEST_EXISTS, ab_test_id))


_NEWEST = f"""
select {_LIGHT} from tasks
where $1::timestamptz is null or (created_at, id) < ($1, $2)
order by created_at desc, id desc limit $3
"""


async def newest(connection: Connection, before: tuple[datetime, UUID] | None, limit: int) -> list[Task]:
    created_at, task_id = before or (None, None)
    return [_task(row) for row in await connection.fetch(_NEWEST, created_at, task_id, limit)]


_RUNNING = f"select {_LIGHT} from tasks where state = 'RUNNING' order by created_at desc, id desc"
_MADE_BEFORE = f"select {_LIGHT} from tasks where state = 'RUNNING' and paused_at is null and priority > $1"
_SOME = f"select {_LIGHT} from tasks where id = any($1) order by created_at desc, id desc"


async def running(connection: Connection) -> list[Task]:
    return [_task(row) for row in await connection.fetch(_RUNNING)]


async def made_before(connection: Connection, priority: int) -> list[Task]:
    """Running ones of a higher priority that are not paused."""
    return [_task(row) for row in await connection.fetch(_MADE_BEFORE, priority)]


async def some(connection: Connection, task_ids: Sequence[UUID]) -> list[Task]:
    return [_task(row) for row in await connection.fetch(_SOME, task_ids)]


_CHANGE = """
update tasks set
  notes = case when $2::boolean then $3 else notes end, overlap = coalesce($4, overlap), blind = coalesce($5, blind),
  priority = coalesce($6, priority), updated_at = now()
where id = $1
"""


async def change(
    connection: Connection,
    task_id: UUID,
    *,
    set_notes: bool,
    notes: str | None,
    overlap: int | None,
    blind: bool | None,
    priority: int | None,
) -> None:
    await connection.execute(_CHANGE, task_id, set_notes, notes, overlap, blind, priority)


# A job that is picked asks the task's own row again before it is sent.
_JOBS_PRIORITY = """
update pgqueuer set priority = $2
where entrypoint = 'generate' and status = 'queued' and starts_with(dedupe_key, $1::uuid::text || ':')
"""


async def change_priority_of_jobs(connection: Connection, task_id: UUID, priority: int) -> None:
    """Of those that wait: they are picked in the new order at once."""
    await connection.execute(_JOBS_PRIORITY, task_id, priority)


# Where answers wait for a place, in the order in which everybody takes the locks of several batches.
_LOCK_WAITED_FOR = """
select id from batches where id in (select batch_id from annotations where task_id = $1 and surplus)
order by id for no key update
"""

# The rule of annotations/overlap.py, for all batches at once: who has waited longest comes first, and nobody comes
# after a spam.
_PROMOTE = """
with waiting as (
  select a.id, a.batch_id, row_number() over in_turn as turn,
    count(*) filter (where a.kind = 'spam') over (in_turn rows between unbounded preceding and 1 preceding) as spams
  from annotations a join batches b on b.id = a.batch_id
  where a.task_id = $1 and a.surplus and b.spam_at is null
  window in_turn as (partition by a.batch_id order by a.updated_at, a.id)
), promoted as (
  update annotations a set surplus = false from waiting w
  where a.id = w.id and w.spams = 0 and w.turn <= $2 - (
    select count(*) from annotations c where c.batch_id = w.batch_id and not c.surplus and c.kind <> 'skip'
  )
  returning a.batch_id, a.spam
)
update batches b set taken = taken + p.answers, spam_at = case when p.spam then now() end
from (select batch_id, count(*)::int as answers, bool_or(spam) as spam from promoted group by batch_id) p
where b.id = p.batch_id
"""


async def promote_waiting_answers(connection: Connection, task_id: UUID, overlap: int) -> None:
    """After the overlap was raised, with the task locked: answers that were beyond it count, as far as they fit."""
    await connection.execute(_LOCK_WAITED_FOR, task_id)
    await connection.execute(_PROMOTE, task_id, overlap)


_COUNT_EDIT = """
update tasks set edits = edits + 1, target_prompts = target_prompts + $2, updated_at = now() where id = $1
"""


async def count_edit(connection: Connection, task_id: UUID, added_prompts: int = 0) -> None:
    """Voids every pilot until now."""
    await connection.execute(_COUNT_EDIT, task_id, added_prompts)
    await cancel_running_pilot(connection, task_id)


_START = """
update tasks set state = $2, started_at = coalesce(started_at, now()), paused_at = null, ended_at = null,
  end_reason = null, updated_at = now()
where id = $1
"""


async def start(connection: Connection, task_id: UUID, state: TaskState) -> None:
    await connection.execute(_START, task_id, state)


_PAUSE = "update tasks set paused_at = now(), updated_at = now() where id = $1"
_RESUME = "update tasks set paused_at = null, updated_at = now() where id = $1"


async def pause(connection: Connection, task_id: UUID) -> None:
    """With the task locked: what waits to be sent finds it paused, on whichever orchestrator it waits."""
    await connection.execute(_PAUSE, task_id)


async def resume(connection: Connection, task_id: UUID) -> None:
    await connection.execute(_RESUME, task_id)


_END = """
update tasks set state = $2, end_reason = $3, paused_at = null, ended_at = now(), updated_at = now() where id = $1
"""


async def end(connection: Connection, task_id: UUID, state: TaskState, end_reason: str | None) -> None:
    await connection.execute(_END, task_id, state, end_reason)
    await notify(connection, tasks=[task_id])


# Locks only a task that runs. Whoever ends the last two images at the same moment waits here, and the second one sees
# what the first has committed.
_LOCK_RUNNING = "select true from tasks where id = $1 and state = 'RUNNING' for no key update"

# Two partial indexes, the first of which nearly always answers.
_WORK_LEFT = """
select exists (select from generations where task_id = $1 and state = 'pending' and not pilot)
    or exists (select from submissions where task_id = $1 and ended_at is null and pilot_id is null)
"""

# Ordered, because the planner would rather read the table for the first match than open an index.
_CAN_BE_LABELLED = """
select true from batches where task_id = $1 and ready_at is not null order by task_id, ready_at, id limit 1
"""

NOTHING_TO_LABEL = "nothing_to_label"


async def finish_task_if_complete(connection: Connection, task_id: UUID) -> TaskState | None:
    """DONE or FAILED when every image is done or given up; None when the task does not run or has work left.

    Call it after what ends a submission, in the same transaction or a later one.
    """
    if not await connection.fetchval(_LOCK_RUNNING, task_id):
        return None
    if await connection.fetchval(_WORK_LEFT, task_id):
        return None
    can_be_labelled = await connection.fetchval(_CAN_BE_LABELLED, task_id)
    state = next_state(TaskState.RUNNING, Verb.FINISH if can_be_labelled else Verb.FAIL)
    await end(connection, task_id, state, None if can_be_labelled else NOTHING_TO_LABEL)
    return state


# --- pilots

_PILOT = """
  id, task_id, edits, state, worker_id, retries_used, ladder, overrides, heaviest, forecast, error, created_at, ended_at
"""

_INSERT_PILOT = f"""
insert into pilots (id, task_id, edits, state) values ($1, $2, $3, 'running') returning {_PILOT}
"""


async def insert_pilot(connection: Connection, pilot_id: UUID, task: Task) -> Pilot:
    row = await connection.fetchrow(_INSERT_PILOT, pilot_id, task.id, task.edits)
    assert row is not None
    return _pilot(row)


_GET_PILOT = f"select {_PILOT} from pilots where id = $1"


async def get_pilot(connection: Connection, pilot_id: UUID) -> Pilot | None:
    row = await connection.fetchrow(_GET_PILOT, pilot_id)
    return _pilot(row) if row else None


_LAST_PILOT = f"select {_PILOT} from pilots where task_id = $1 order by id desc limit 1"


async def last_pilot(connection: Connection, task_id: UUID) -> Pilot | None:
    row = await connection.fetchrow(_LAST_PILOT, task_id)
    return _pilot(row) if row else None


_LAST_VALID_PILOT = f"""
select {_PILOT} from pilots where task_id = $1 and edits = $2 and state = 'done' order by id desc limit 1
"""


async def last_valid_pilot(connection: Connection, task: Task) -> Pilot | None:
    """The last that ended well on the task as it is now."""
    row = await connection.fetchrow(_LAST_VALID_PILOT, task.id, task.edits)
    return _pilot(row) if row else None


_LOCK_RUNNING_PILOT = "select true from pilots where id = $1 and state = 'running' for share"


async def lock_running_pilot(connection: Connection, pilot_id: UUID) -> bool:
    """Before a pilot's rows are written: an edit or a freeze that cancels it waits; False when one already has."""
    return bool(await connection.fetchval(_LOCK_RUNNING_PILOT, pilot_id))


_CANCEL_PILOT = "update pilots set state = 'cancelled', ended_at = now() where task_id = $1 and state = 'running'"


async def cancel_running_pilot(connection: Connection, task_id: UUID) -> None:
    await connection.execute(_CANCEL_PILOT, task_id)


_FINISH_PILOT = """
update pilots set state = 'done', worker_id = $2, retries_used = $3, ladder = $4, overrides = $5, heaviest = $6,
  forecast = $7, ended_at = now()
where id = $1 and state = 'running' returning task_id
"""


async def finish_pilot(
    connection: Connection,
    pilot_id: UUID,
    *,
    worker_id: UUID,
    retries_used: int,
    ladder: Sequence[Mapping[str, Any]],
    overrides: Mapping[str, int | None],
    heaviest: Mapping[str, str],
    forecast: Mapping[str, Any],
) -> bool:
    """False when the pilot was cancelled meanwhile: then nothing is written."""
    task_id = await connection.fetchval(
        _FINISH_PILOT, pilot_id, worker_id, retries_used, ladder, overrides, heaviest, forecast
    )
    return await _tell(connection, task_id)


_FAIL_PILOT = """
update pilots set state = 'failed', error = $2, worker_id = $3, retries_used = $4, ladder = $5, ended_at = now()
where id = $1 and state = 'running' returning task_id
"""


async def fail_pilot(
    connection: Connection,
    pilot_id: UUID,
    error: Mapping[str, Any],
    *,
    worker_id: UUID | None = None,
    retries_used: int = 0,
    ladder: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """`error`: {status, code, message, data}, what the waiting request answers. False as in `finish_pilot`."""
    task_id = await connection.fetchval(_FAIL_PILOT, pilot_id, error, worker_id, retries_used, list(ladder))
    return await _tell(connection, task_id)


async def _tell(connection: Connection, task_id: UUID | None) -> bool:
    """Whether there is such a task; whoever watches it hears of its pilot."""
    if task_id is not None:
        await notify(connection, tasks=[task_id])
    return task_id is not None


_PILOT_IMAGES = """
select image_uri, thumbnail_uri, seed_value, prompt_id, width, height from generations
where pilot_id = $1 and pilot and state = 'done' order by position
"""


async def pilot_images(connection: Connection, pilot_id: UUID) -> list[PilotImage]:
    return [PilotImage(*row) for row in await connection.fetch(_PILOT_IMAGES, pilot_id)]


# --- rows


def _task(row: Record) -> Task:
    return Task(**{**row, "state": TaskState(row["state"])})


def _pilot(row: Record) -> Pilot:
    return Pilot(**row)
