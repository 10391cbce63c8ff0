"""SQL on the steps of many submissions at once: each step is one statement, or one transaction where a later part has
to see what others have committed while an earlier one waited for a lock.

Each write names its submission and the states it may come from. What another owner or a cancel has decided about is
left out of the answer, and none of the others is touched by that. Lock order as in repository.py; many rows of one
kind in the order of their ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.generations.states import (
    GENERATION_MOVES,
    SUBMISSION_MOVES,
    GenerationState,
    SubmissionState,
    sources,
)
from comfylabel.orchestrator.schemas import Plan

# -------------------------------------------------------------------------------------------------- reservation

_LOCK_WORKERS = """
select id, max_concurrent_jobs from workers
where id = any ($1::uuid[]) and enabled and status = 'HEALTHY' and removed_at is null
order by id for no key update
"""
# A statement of its own: it must see what was committed while the one before waited.
_HELD = """
select worker_id, array_agg(id) as ids from submissions
where worker_id = any ($1::uuid[]) and state in ('accepted', 'reserved', 'sent') group by worker_id
"""
_RESERVE = """
insert into submissions (id, worker_id, task_id, prompt_id, pilot_id, chunk, attempt, state, seed_value, batch_size,
  graph_digest)
select id, worker_id, task_id, prompt_id, pilot_id, chunk, attempt, 'reserved', seed_value, batch_size, ''
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::int[], $7::int[], $8::bigint[], $9::int[])
  as wanted (id, worker_id, task_id, prompt_id, pilot_id, chunk, attempt, seed_value, batch_size)
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A slot of this worker for this plan, under an id that we choose."""

    submission_id: UUID
    worker_id: UUID
    plan: Plan
    attempt: int


@dataclass(frozen=True, slots=True)
class Taken:
    """`held`: our submissions on that worker up to this one, but none that was taken after it: of two beside a
    stranger's job one may go. `limit` is its max_concurrent_jobs.
    """

    held: frozenset[str]
    limit: int


async def reserve(connection: Connection, wanted: Sequence[Wanted]) -> dict[UUID, Taken]:
    """By submission: those for which their worker had a slot left and may be used. In a transaction."""
    workers = list({one.worker_id for one in wanted})
    limits = {row["id"]: row["max_concurrent_jobs"] for row in await connection.fetch(_LOCK_WORKERS, workers)}
    held = {row["worker_id"]: set(row["ids"]) for row in await connection.fetch(_HELD, workers)}
    taken: dict[UUID, Taken] = {}
    for one in wanted:
        ours = held.setdefault(one.worker_id, set())
        limit = limits.get(one.worker_id, 0)
        if len(ours) < limit:
            ours.add(one.submission_id)
            taken[one.submission_id] = Taken(frozenset(map(str, ours)), limit)
    if taken:
        await connection.execute(_RESERVE, *_columns([one for one in wanted if one.submission_id in taken]))
    return taken


def _columns(taken: Sequence[Wanted]) -> list[list[Any]]:
    rows = [
        (
            one.submission_id, one.worker_id, one.plan.task_id, one.plan.prompt_id, one.plan.pilot_id, one.plan.chunk,
            one.attempt, one.plan.seed, one.plan.batch_size,
        )
        for one in taken
    ]  # fmt: skip
    return [list(column) for column in zip(*rows, strict=True)]


_DROP = "delete from submissions where id = any ($1::uuid[]) and state = 'reserved'"


async def drop_reservations(connection: Connection, submission_ids: Sequence[UUID]) -> None:
    """Give the slots back: nothing was sent."""
    await connection.execute(_DROP, submission_ids)


# ----------------------------------------------------------------------------------------------------------- sent

# Tasks are shared with other submissions, exclusive of cancel and pause: what those have not seen sent is not sent any
# more. `state = 'pending'` of the images is what makes one of two owners of a chunk the one that sends.
_SENT = """
with asked as (
  select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[], $6::int[], $7::text[])
    as a (id, task_id, worker_id, batch_id, chunk, queue_length, graph_digest)
), wanted_tasks as materialized (
  select id from tasks where id in (select task_id from asked) and state = 'RUNNING' and paused_at is null
  order by id for share
), usable_workers as materialized (
  select id from workers
  where id in (select a.worker_id from asked a join wanted_tasks t on t.id = a.task_id)
    and enabled and removed_at is null
  order by id for no key update
), reserved as materialized (
  select s.id from submissions s
  where s.id in (select a.id from asked a join wanted_tasks t on t.id = a.task_id
                 join usable_workers w on w.id = a.worker_id) and s.state = any ($8::text[])
  order by s.id for no key update
), images as materialized (
  select g.id, a.id as submission_id, a.worker_id from reserved r join asked a on a.id = r.id
  join generations g on g.batch_id = a.batch_id and g.chunk = a.chunk and g.state = 'pending'
  order by g.id for no key update of g
), moved as (
  update generations g set state = 'running', submission_id = i.submission_id, worker_id = i.worker_id,
    updated_at = now()
  from images i where g.id = i.id returning g.submission_id, g.batch_id
), locked_batches as materialized (
  select b.id, m.images from (select batch_id, count(*)::int as images from moved group by batch_id) m
  join batches b on b.id = m.batch_id order by b.id for no key update of b
), counted as (
  update batches b set running = running + l.images from locked_batches l where b.id = l.id
), lengths as (
  update workers w set current_queue_len = greatest(q.queue_length, 0), updated_at = now()
  from (select worker_id, max(queue_length) as queue_length from asked
        where id in (select submission_id from moved) group by worker_id) q where w.id = q.worker_id
)
update submissions s set state = 'sent', sent_at = now(), graph_digest = a.graph_digest
from asked a where s.id = a.id and a.id in (select submission_id from moved) returning s.id, s.sent_at
"""


@dataclass(frozen=True, slots=True)
class Sending:
    """A reservation that the gate has let through."""

    submission_id: UUID
    task_id: UUID
    worker_id: UUID
    batch_id: UUID
    chunk: int
    queue_length: int
    graph_digest: str


async def mark_sent(connection: Connection, sendings: Sequence[Sending]) -> list[datetime | None]:
    """From now on the workers may hold them. None: it is not wanted any more, its worker gets nothing any more, or
    somebody else decided about it or sends the same images; it is a reservation still.
    """
    first = {(one.batch_id, one.chunk): one for one in reversed(sendings)}.values()  # of two owners of one chunk
    rows = [
        (one.submission_id, one.task_id, one.worker_id, one.batch_id, one.chunk, one.queue_length, one.graph_digest)
        for one in sorted(first, key=lambda one: one.submission_id)
    ]
    columns = (list(column) for column in zip(*rows, strict=True))
    found = await connection.fetch(_SENT, *columns, sources(SUBMISSION_MOVES, SubmissionState.SENT))
    sent_at = {row["id"]: row["sent_at"] for row in found}
    return [sent_at.get(one.submission_id) for one in sendings]


# ------------------------------------------------------------------------------------------- accepted, generated

_ACCEPTED = """
update submissions set state = 'accepted', accepted_at = now() where id in (
  select id from submissions where id = any ($1::uuid[]) and state = any ($2::text[]) order by id for no key update)
returning id
"""


async def mark_accepted(connection: Connection, submission_ids: Sequence[UUID]) -> list[bool]:
    states = sources(SUBMISSION_MOVES, SubmissionState.ACCEPTED)
    found = {row["id"] for row in await connection.fetch(_ACCEPTED, submission_ids, states)}
    return [submission_id in found for submission_id in submission_ids]


_GENERATED = """
with asked as (
  select * from unnest($1::uuid[], $2::uuid[], $3::float8[]) as a (id, worker_id, seconds)
), locked_workers as materialized (
  select id from workers where id in (select worker_id from asked) order by id for no key update
), locked as materialized (
  select id from submissions
  where id in (select a.id from asked a join locked_workers w on w.id = a.worker_id) and state = any ($4::text[])
  order by id for no key update
), made as (
  update submissions s set state = 'generated', seconds = a.seconds from asked a join locked l on l.id = a.id
  where s.id = a.id returning s.id, s.worker_id
), lengths as (
  update workers w set current_queue_len = greatest(w.current_queue_len - m.ended, 0)
  from (select worker_id, count(*)::int as ended from made group by worker_id) m where w.id = m.worker_id
)
select id from made
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a worker has ended, and how long it computed by its own account."""

    submission_id: UUID
    worker_id: UUID
    seconds: float | None


async def mark_generated(connection: Connection, ended: Sequence[Ended]) -> list[bool]:
    """Their slots are free before a byte of their images is fetched."""
    columns = (
        [one.submission_id for one in ended],
        [one.worker_id for one in ended],
        [one.seconds for one in ended],
    )
    states = sources(SUBMISSION_MOVES, SubmissionState.GENERATED)
    found = {row["id"] for row in await connection.fetch(_GENERATED, *columns, states)}
    return [one.submission_id in found for one in ended]


# ----------------------------------------------------------------------------------------------------- the images

_LOCK_GENERATED = """
select id from submissions where id = any ($1::uuid[]) order by id for no key update
"""
_DONE = """
with asked as (
  select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
      $8::bigint[], $9::int[], $10::int[], $11::jsonb[])
    as a (id, submission_id, image_uri, thumbnail_uri, tile_uri, preview_uri, checksum, bytes, width, height, metadata)
), locked as materialized (
  select g.id from generations g join asked a on a.id = g.id and a.submission_id = g.submission_id
  where g.state = any ($12::text[]) order by g.id for no key update of g
), done as (
  update generations g set state = 'done', image_uri = a.image_uri, thumbnail_uri = a.thumbnail_uri,
    tile_uri = a.tile_uri, preview_uri = a.preview_uri, checksum = a.checksum, bytes = a.bytes, width = a.width,
    height = a.height, metadata = a.metadata, updated_at = now()
  from locked l join asked a on a.id = l.id where g.id = l.id returning g.id, g.batch_id
), locked_batches as materialized (
  select b.id, d.images from (select batch_id, count(*)::int as images from done group by batch_id) d
  join batches b on b.id = d.batch_id order by b.id for no key update of b
), counted as (
  update batches b set done = b.done + l.images, running = b.running - l.images,
    reason = case when b.done + l.images < b.total then b.reason end
  from locked_batches l where b.id = l.id returning b.id, b.done + b.failed = b.total as is_complete
)
select d.id, d.batch_id, c.is_complete from done d join counted c on c.id = d.batch_id
"""
_INGESTED = """
update submissions s set state = 'ingested', ended_at = now()
where s.id = any ($1::uuid[]) and s.state = any ($2::text[]) and not exists (
  select from batches b join generations g on g.batch_id = b.id and g.chunk = s.chunk
  where b.prompt_id = s.prompt_id and g.submission_id = s.id and g.state = 'running')
returning s.id
"""


@dataclass(frozen=True, slots=True)
class Image:
    """One that lies in the store. `columns`: keys of image, thumbnail, tile and preview, sha256, bytes, width,
    height.
    """

    generation_id: UUID
    submission_id: UUID
    columns: Sequence[object]
    metadata: dict[str, object]


async def images_done(connection: Connection, images: Sequence[Image]) -> tuple[list[bool], list[UUID]]:
    """Which of them counted (the others were superseded), and the batches that have nothing left to try."""
    await connection.fetch(_LOCK_GENERATED, list({image.submission_id for image in images}))
    rows = [(image.generation_id, image.submission_id, *image.columns, image.metadata) for image in images]
    columns = (list(column) for column in zip(*rows, strict=True))
    found = await connection.fetch(_DONE, *columns, sources(GENERATION_MOVES, GenerationState.DONE))
    done = {row["id"] for row in found}
    complete = sorted({row["batch_id"] for row in found if row["is_complete"]})
    return [image.generation_id in done for image in images], complete


async def end_ingested(connection: Connection, submission_ids: Sequence[UUID]) -> set[UUID]:
    """Those of them that have ended now: without an image left to fetch."""
    states = sources(SUBMISSION_MOVES, SubmissionState.INGESTED)
    return {row["id"] for row in await connection.fetch(_INGESTED, sorted(set(submission_ids)), states)}
