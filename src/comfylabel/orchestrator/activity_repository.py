"""SQL that adds up what workers have done. Everything is added in the order of ids, as every orchestrator does it."""

from collections.abc import Sequence
from uuid import UUID

from comfylabel.db.notifications import notify
from comfylabel.db.pool import Connection
from comfylabel.orchestrator.figures import Figures
from comfylabel.workers.activity_repository import GAP_COLUMNS

_PATIENCE = "set local lock_timeout = '500ms'"
# Their rows stay until we are done, and whoever was deleted meanwhile needs no figures. Tasks first, as everywhere.
_TASKS = "select id from tasks where id = any($1) order by id for key share"
_WORKERS = "select id from workers where id = any($1) order by id for key share"
_WORKFLOWS = "select id from workflows where id = any($1) order by id for key share"

_MINUTES = """
insert into worker_minutes as old (worker_id, task_id, minute, submissions, images, failures, busy_seconds)
select worker_id, task_id, date_trunc('minute', now()) - make_interval(mins => ago), s, i, f, busy
from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::float8[])
  as new (worker_id, task_id, ago, s, i, f, busy)
order by worker_id, 3, task_id
on conflict (worker_id, minute, task_id) do update set
  submissions = old.submissions + excluded.submissions, images = old.images + excluded.images,
  failures = old.failures + excluded.failures, busy_seconds = old.busy_seconds + excluded.busy_seconds
"""

_TOTALS = f"""
insert into worker_totals as old (worker_id, submissions, images, busy_seconds, gap_seconds, {", ".join(GAP_COLUMNS)})
select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::float8[], $5::float8[],
  {", ".join(f"${number}::bigint[]" for number in range(6, 6 + len(GAP_COLUMNS)))}) order by 1
on conflict (worker_id) do update set
  submissions = old.submissions + excluded.submissions, images = old.images + excluded.images,
  busy_seconds = old.busy_seconds + excluded.busy_seconds, gap_seconds = old.gap_seconds + excluded.gap_seconds,
  {", ".join(f"{column} = old.{column} + excluded.{column}" for column in GAP_COLUMNS)}
"""

_FAILURES = """
insert into worker_failures as old (worker_id, kind, failures)
select * from unnest($1::uuid[], $2::text[], $3::bigint[]) order by 1, 2
on conflict (worker_id, kind) do update set failures = old.failures + excluded.failures
"""

# As if the last fifty images were all there is: a new driver, or another GPU at the same address, is soon seen.
_PACES = """
insert into paces as old (worker_id, workflow_id, width, height, seconds_per_image, images)
select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::float8[], $6::bigint[]) order by 1, 2, 3, 4
on conflict (worker_id, workflow_id, width, height) do update set
  seconds_per_image = old.seconds_per_image + (excluded.seconds_per_image - old.seconds_per_image)
    * excluded.images / (least(old.images, 50) + excluded.images),
  images = old.images + excluded.images, updated_at = now()
"""


async def add(connection: Connection, figures: Figures) -> None:
    """Add them up in the caller's transaction, and tell who has changed."""
    await connection.execute(_PATIENCE)
    tasks = await _existing(connection, _TASKS, figures.tasks)
    workers = await _existing(connection, _WORKERS, figures.workers)
    await _add_minutes(connection, figures, tasks, workers)
    await _add_totals(connection, figures, workers)
    await _add_failures(connection, figures, workers)
    await _add_paces(connection, figures, workers)
    await notify(connection, tasks=sorted(tasks), workers=sorted(workers))


async def _existing(connection: Connection, statement: str, ids: set[UUID]) -> set[UUID]:
    return {row["id"] for row in await connection.fetch(statement, list(ids))}


async def _add_minutes(connection: Connection, figures: Figures, tasks: set[UUID], workers: set[UUID]) -> None:
    rows = [
        (*key, done.submissions, done.images, done.failures, done.busy)
        for key, done in figures.minutes.items()
        if key[0] in workers and key[1] in tasks
    ]
    await _execute(connection, _MINUTES, rows)


async def _add_totals(connection: Connection, figures: Figures, workers: set[UUID]) -> None:
    rows = [
        (worker, done.submissions, done.images, done.busy, done.gap_seconds, *done.gaps)
        for worker, done in figures.totals.items()
        if worker in workers
    ]
    await _execute(connection, _TOTALS, rows)


async def _add_failures(connection: Connection, figures: Figures, workers: set[UUID]) -> None:
    rows = [(*key, count) for key, count in figures.failures.items() if key[0] in workers]
    await _execute(connection, _FAILURES, rows)


async def _add_paces(connection: Connection, figures: Figures, workers: set[UUID]) -> None:
    workflows = await _existing(connection, _WORKFLOWS, {workflow for _, workflow, _, _ in figures.paces})
    rows = [
        (*key, pace.seconds / pace.images, pace.images)
        for key, pace in figures.paces.items()
        if key[0] in workers and key[1] in workflows
    ]
    await _execute(connection, _PACES, rows)


async def _execute(connection: Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        await connection.execute(statement, *(list(column) for column in zip(*rows, strict=True)))


# Whether what a lost connection had committed is there: asked of the server, which knows, instead of guessed.
_TRANSACTION = "select pg_current_xact_id()::text"
_BECAME = "select pg_xact_status($1::text::xid8)"


async def transaction_id(connection: Connection) -> str:
    identity: str = await connection.fetchval(_TRANSACTION)
    return identity


async def was_committed(connection: Connection, transaction: str) -> bool | None:
    """None: it goes on still, the server has not noticed that we are gone."""
    status: str | None = await connection.fetchval(_BECAME, transaction)
    return None if status == "in progress" else status == "committed"


_RESTING = """
select id from workers where id = any($1) and (not enabled or status <> 'HEALTHY' or removed_at is not null)
"""


async def resting(connection: Connection, workers: Sequence[UUID]) -> list[UUID]:
    """Those that may not work now."""
    return [row["id"] for row in await connection.fetch(_RESTING, workers)]


_FORGET = "delete from worker_minutes where minute < now() - interval '7 days'"
# A hundred workers on one task are a million minutes a week, and 17 000 hours.
_INTO_HOURS = """
with minutes as (
  delete from worker_minutes
  where minute < date_trunc('hour', now() - interval '2 hours') and minute <> date_trunc('hour', minute) returning *
)
insert into worker_minutes as old (worker_id, task_id, minute, submissions, images, failures, busy_seconds)
select worker_id, task_id, date_trunc('hour', minute), sum(submissions), sum(images), sum(failures), sum(busy_seconds)
from minutes group by 1, 2, 3 order by 1, 3, 2
on conflict (worker_id, minute, task_id) do update set
  submissions = old.submissions + excluded.submissions, images = old.images + excluded.images,
  failures = old.failures + excluded.failures, busy_seconds = old.busy_seconds + excluded.busy_seconds
"""


async def forget_old_minutes(connection: Connection) -> None:
    """Minutes are asked for an hour; after two or three they become hours, which whoever looks for a cause may see for
    a week.
    """
    await connection.execute(_FORGET)
    await connection.execute(_INTO_HOURS)
