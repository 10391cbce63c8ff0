"""SQL of batches as they are shown: each with its prompt, its candidates and what the person has said about it."""

from collections.abc import Collection
from uuid import UUID

from comfylabel.annotations.batches import BatchRow, Position
from comfylabel.annotations.hints import BEFORE_ALL
from comfylabel.db.pool import Connection


def of_person(table: str, batch: str, user: str) -> str:
    """The condition on that person's row about that batch, found by the index on (batch_id, user_id).

    The equalities alone say it. But a plan that was made while the table was empty, and is kept, may then go through
    all that the person has answered since, for each batch: as rows, no other index is as good.
    """
    row, wanted = f"({table}.batch_id, {table}.user_id)", f"({batch}, {user})"
    return f"{table}.batch_id = {batch} and {row} >= {wanted} and {row} <= {wanted}"


def _shown(source: str, user: str) -> str:
    """Prompt, images and answer are subqueries of one row, not joins: a generic plan expects a tenth of the task
    behind a `limit $4` and would hash whole tables to join them. Where an image has no tile, its preview stands in.
    """
    return f"""
select {source}.id, {source}.ready_at,
       (select text from prompts where prompts.id = {source}.prompt_id) as prompt,
       images.*,
       (select jsonb_build_object('id', a.id, 'kind', a.kind, 'chosen_index', a.chosen_index,
                'rejected_index', a.rejected_index, 'spam', a.spam, 'surplus', a.surplus)
        from annotations a where {of_person("a", f"{source}.id", user)}) as my_annotation
from {source} cross join lateral (
  select coalesce(array_agg(g.id), '{{}}') as generation_ids,
         coalesce(array_agg(g.seed_value), '{{}}') as seeds,
         coalesce(array_agg(g.batch_index), '{{}}') as batch_indexes,
         coalesce(array_agg(g.image_uri), '{{}}') as image_keys,
         coalesce(array_agg(g.thumbnail_uri), '{{}}') as thumbnail_keys,
         coalesce(array_agg(coalesce(g.tile_uri, g.preview_uri)), '{{}}') as tile_keys,
         coalesce(array_agg(g.preview_uri), '{{}}') as preview_keys,
         coalesce(array_agg(g.width), '{{}}') as widths,
         coalesce(array_agg(g.height), '{{}}') as heights
  from (select * from generations where batch_id = {source}.id and candidate_index is not null
        order by candidate_index) g
) images
"""


def _page(beyond: str, direction: str) -> str:
    """A scan of the index begins where the equality and the comparison together say: at the cursor, however deep."""
    return f"""
with page as materialized (
  select id, prompt_id, ready_at from batches
  where task_id = $1 and ready_at is not null and (ready_at, id) {beyond} ($2, $3)
  order by task_id {direction}, ready_at {direction}, id {direction} limit $4
)
{_shown("page", "$5")}
order by page.ready_at {direction}, page.id {direction}
"""


PAGE_FORWARDS = _page(">", "asc")
PAGE_BACKWARDS = _page("<", "desc")


async def page(
    connection: Connection, task_id: UUID, user_id: UUID, position: Position | None, limit: int
) -> list[BatchRow]:
    """Up to `limit` batches beyond `position`, nearest first."""
    query = PAGE_BACKWARDS if position and position.backwards else PAGE_FORWARDS
    at, batch_id = (position.ready_at, position.batch_id) if position else BEFORE_ALL
    return [BatchRow(**row) for row in await connection.fetch(query, task_id, at, batch_id, limit, user_id)]


SHOWN = f"""
with wanted as materialized (
  select id, prompt_id, ready_at from batches where id = any($1) and ready_at is not null
)
{_shown("wanted", "$2")}
"""


async def shown(connection: Connection, batch_ids: Collection[UUID], user_id: UUID) -> dict[UUID, BatchRow]:
    """The ready ones of these batches, by id."""
    rows = await connection.fetch(SHOWN, list(batch_ids), user_id)
    return {row["id"]: BatchRow(**row) for row in rows}
