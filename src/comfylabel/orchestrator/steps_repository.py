"""SQL on the steps of many submissions at once: each step is one statement, or one transaction that locks first, so
that what it then writes sees what others have committed while it waited.

Each write names its submission and the states it may come from. What another owner or a cancel has decided about is
left out of the answer, and none of the others is touched by that. Lock order as in repository.py; many rows of one
kind in the order of their ids.
"""

from collections import Counter
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

# Of a step of which the worker knows nothing its transaction does not wait for the disk: when the database dies at that
# moment and forgets it, that is as if it had died before. Whatever is waited for later takes the disk everything that
# was committed before it: no `sent`, and no image that counts, outlives what led to it. (The rows of workers are locked
# until a commit is over, and each of these steps locks them: every submission waited for four disks in a row.)
_UNHURRIED = "set_config('synchronous_commit', 'off', true)"

# -------------------------------------------------------------------------------------------------- reservation

_LOCK_WORKERS = f"""
select id, max_concurrent_jobs, {_UNHURRIED} from workers
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
    return _turned(rows)


_DROP = "delete from submissions where id = any ($1::uuid[]) and state = 'reserved'"


async def drop_reservations(connection: Connection, submission_ids: Sequence[UUID]) -> None:
    """Give the slots back: nothing was sent."""
    await connection.execute(_DROP, submission_ids)


# ----------------------------------------------------------------------------------------------------------- sent

# Locks and updates are statements of their own, here and below. An update in the statement that locks works on the rows
# as they were when it began: where one changed while the lock was waited for, the executor checks it again, for which
# it locks the row's old version too (a deadlock, seen), and PostgreSQL 18.6 has then crashed in the pruning of
# partitions of `generations` in the same statement (seen in five of seven runs of the bench mass_200k).

# Tasks are shared with other submissions, exclusive of cancel and pause: what those have not seen sent is not sent any
# more. `state = 'pending'` of the images is what makes one of two owners of a chunk the one that sends.
_LOCK_TO_SEND = """
with asked as (
  select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[])
    as a (id, task_id, worker_id, batch_id, chunk)
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
                 join usable_workers w on w.id = a.worker_id) and s.state = any ($6::text[])
  order by s.id for no key update
), images as materialized (
  select g.id, g.batch_id, a.id as submission_id, a.worker_id from reserved r join asked a on a.id = r.id
  join generations g on g.batch_id = a.batch_id and g.chunk = a.chunk and g.state = 'pending'
  order by g.id for no key update of g
), locked_batches as materialized (
  select id from batches where id in (select batch_id from images) order by id for no key update
)
select i.id, i.submission_id, i.worker_id, i.batch_id from images i join locked_batches b on b.id = i.batch_id
"""
_SENT = """
with moved as (
  update generations g set state = 'running', submission_id = i.submission_id, worker_id = i.worker_id,
    updated_at = now()
  from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as i (id, submission_id, worker_id) where g.id = i.id
), counted as (
  update batches b set running = running + c.images
  from unnest($4::uuid[], $5::int[]) as c (id, images) where b.id = c.id
), lengths as (
  update workers w set current_queue_len = greatest(q.length, 0), updated_at = now()
  from unnest($6::uuid[], $7::int[]) as q (id, length) where w.id = q.id
)
update submissions s set state = 'sent', sent_at = now(), graph_digest = a.digest
from unnest($8::uuid[], $9::text[]) as a (id, digest) where s.id = a.id returning s.id, s.sent_at
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
    somebody else decided about it or sends the same images; it is a reservation still. In a transaction.
    """
    first = {(one.batch_id, one.chunk): one for one in reversed(sendings)}.values()  # of two owners of one chunk
    rows = [(one.submission_id, one.task_id, one.worker_id, one.batch_id, one.chunk) for one in first]
    images = await connection.fetch(_LOCK_TO_SEND, *_turned(rows), sources(SUBMISSION_MOVES, SubmissionState.SENT))
    if not images:
        return [None] * len(sendings)
    going = {image["submission_id"] for image in images}
    gone = [one for one in first if one.submission_id in going]
    lengths: dict[UUID, int] = {}
    for one in gone:
        lengths[one.worker_id] = max(lengths.get(one.worker_id, 0), one.queue_length)
    found = await connection.fetch(
        _SENT,
        *_turned([(image["id"], image["submission_id"], image["worker_id"]) for image in images]),
        *_turned(list(Counter(image["batch_id"] for image in images).items())),
        *_turned(list(lengths.items())),
        *_turned([(one.submission_id, one.graph_digest) for one in gone]),
    )
    sent_at = {row["id"]: row["sent_at"] for row in found}
    return [sent_at.get(one.submission_id) for one in sendings]


# ------------------------------------------------------------------------------------------- accepted, generated

_ACCEPTED = f"""
update submissions set state = 'accepted', accepted_at = now() where id in (
  select id from submissions where id = any ($1::uuid[]) and state = any ($2::text[]) order by id for no key update)
returning id, {_UNHURRIED}
"""


async def mark_accepted(connection: Connection, submission_ids: Sequence[UUID]) -> list[bool]:
    states = sources(SUBMISSION_MOVES, SubmissionState.ACCEPTED)
    found = {row["id"] for row in await connection.fetch(_ACCEPTED, submission_ids, states)}
    return [submission_id in found for submission_id in submission_ids]


_LOCK_OF_ENDED = f"select {_UNHURRIED} from workers where id = any ($1::uuid[]) order by id for no key update"
_LOCK_ENDED = """
select id, worker_id from submissions where id = any ($1::uuid[]) and state = any ($2::text[])
order by id for no key update
"""
_GENERATED = """
with lengths as (
  update workers w set current_queue_len = greatest(w.current_queue_len - q.ended, 0)
  from unnest($1::uuid[], $2::int[]) as q (id, ended) where w.id = q.id
)
update submissions s set state = 'generated', seconds = a.seconds
from unnest($3::uuid[], $4::float8[]) as a (id, seconds) where s.id = a.id
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a worker has ended, and how long it computed by its own account."""

    submission_id: UUID
    worker_id: UUID
    seconds: float | None


async def mark_generated(connection: Connection, ended: Sequence[Ended]) -> list[bool]:
    """Their slots are free before a byte of their images is fetched. In a transaction."""
    await connection.execute(_LOCK_OF_ENDED, list({one.worker_id for one in ended}))
    states = sources(SUBMISSION_MOVES, SubmissionState.GENERATED)
    rows = await connection.fetch(_LOCK_ENDED, [one.submission_id for one in ended], states)
    found = {row["id"] for row in rows}
    if found:
        seconds = {one.submission_id: one.seconds for one in ended if one.submission_id in found}
        of_workers = Counter(row["worker_id"] for row in rows)
        await connection.execute(_GENERATED, *_turned(list(of_workers.items())), *_turned(list(seconds.items())))
    return [one.submission_id in found for one in ended]


# ----------------------------------------------------------------------------------------------------- the images

_LOCK_GENERATED = "select from submissions where id = any ($1::uuid[]) order by id for no key update"
_LOCK_IMAGES = """
select id, submission_id, batch_id from generations where id = any ($1::uuid[]) and state = any ($2::text[])
order by id for no key update
"""
_LOCK_BATCHES = "select from batches where id = any ($1::uuid[]) order by id for no key update"
_DONE = """
with done as (
  update generations g set state = 'done', image_uri = a.image_uri, thumbnail_uri = a.thumbnail_uri,
    tile_uri = a.tile_uri, preview_uri = a.preview_uri, checksum = a.checksum, bytes = a.bytes, width = a.width,
    height = a.height, metadata = a.metadata, updated_at = now()
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::int[],
      $9::int[], $10::jsonb[])
    as a (id, image_uri, thumbnail_uri, tile_uri, preview_uri, checksum, bytes, width, height, metadata)
  where g.id = a.id
)
update batches b set done = b.done + c.images, running = b.running - c.images,
  reason = case when b.done + c.images < b.total then b.reason end
from unnest($11::uuid[], $12::int[]) as c (id, images) where b.id = c.id
returning b.id, b.done + b.failed = b.total as is_complete
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
    """Which of them counted (the others were superseded), and the batches that have nothing left to try. In a
    transaction.
    """
    await connection.execute(_LOCK_GENERATED, list({image.submission_id for image in images}))
    states = sources(GENERATION_MOVES, GenerationState.DONE)
    locked = await connection.fetch(_LOCK_IMAGES, [image.generation_id for image in images], states)
    batch_of = {(row["id"], row["submission_id"]): row["batch_id"] for row in locked}
    ours = {one.generation_id: one for one in images if (one.generation_id, one.submission_id) in batch_of}
    if not ours:
        return [False] * len(images), []
    batches = Counter(batch_of[one.generation_id, one.submission_id] for one in ours.values())
    await connection.execute(_LOCK_BATCHES, list(batches))
    rows = [(one.generation_id, *one.columns, one.metadata) for one in ours.values()]
    found = await connection.fetch(_DONE, *_turned(rows), *_turned(list(batches.items())))
    complete = sorted(row["id"] for row in found if row["is_complete"])
    return [(image.generation_id, image.submission_id) in batch_of for image in images], complete


async def end_ingested(connection: Connection, submission_ids: Sequence[UUID]) -> set[UUID]:
    """Those of them that have ended now: without an image left to fetch."""
    states = sources(SUBMISSION_MOVES, SubmissionState.INGESTED)
    return {row["id"] for row in await connection.fetch(_INGESTED, sorted(set(submission_ids)), states)}


def _turned(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """An array for each column, as unnest takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
