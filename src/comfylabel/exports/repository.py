"""SQL of exports. The database makes the JSON of a whole task, Python passes the bytes on: memory stays flat."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from comfylabel.db.ids import uuid7_floor
from comfylabel.db.pool import Connection
from comfylabel.exports.dpo import SCHEMA_VERSION, Answer, Candidate, JudgedBatch, LeftOut, Profile, TaskFacts

# --- the task

_TASK = """
select t.state, t.frozen_at, t.workflow_id, w.model, t.variable_pool_version, t.digest, t.seed_mode
from tasks t join workflows w on w.id = t.workflow_id where t.id = $1
"""


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """`facts` once it is frozen."""

    state: str
    frozen_at: datetime | None
    facts: TaskFacts


async def get_task(connection: Connection, task_id: UUID) -> ExportedTask | None:
    row = await connection.fetchrow(_TASK, task_id)
    if row is None:
        return None
    facts = TaskFacts(
        task_id=task_id,
        workflow_id=row["workflow_id"],
        model=row["model"],
        variable_pool_version=row["variable_pool_version"],
        snapshot_digest=row["digest"] or "",
        seed_mode=row["seed_mode"],
    )
    return ExportedTask(row["state"], row["frozen_at"], facts)


_POSITION = "select position from batches where id = $1 and task_id = $2"


async def position_of(connection: Connection, task_id: UUID, batch_id: UUID) -> int | None:
    position: int | None = await connection.fetchval(_POSITION, batch_id, task_id)
    return position


# --- the stream

# JSON text holds no raw control character, so neither of these occurs in a line and COPY changes nothing. Its default
# format doubles backslashes, which makes invalid JSON of any prompt with a quote.
_QUOTE, _DELIMITER = "\x01", "\x02"

# Batch by batch through indexes, in order of position: the first line comes at once, and neither side ever holds the
# task. Left to itself the planner sorts all finished lines on disk, at 1.4 times the CPU (measured on 200k batches).
_STREAMING_PLAN = (
    "set local enable_sort = off; set local enable_hashjoin = off; set local enable_mergejoin = off; "
    "set local enable_bitmapscan = off; set local enable_seqscan = off; set local jit = off"
)


def _text(expression: str) -> str:
    """JSON of a text. What JSON allows raw but str.splitlines or JavaScript takes for the end of a line is escaped."""
    escaped = f"to_json({expression})::text"
    for character in (0x2028, 0x2029, 0x85):
        escaped = f"replace({escaped}, chr({character}), '\\u{character:04x}')"
    return escaped


_IMAGE = """'{"uri":"' || $5::text || g.image_uri || '","seed":' || g.seed_value"""
_FULL_IMAGE = """ || ',"batch_index":' || g.batch_index || ',"batch_size":' || g.batch_size
    || ',"sha256":"' || g.checksum || '","bytes":' || coalesce(g.bytes::text, 'null')
    || ',"width":' || coalesce(g.width::text, 'null') || ',"height":' || coalesce(g.height::text, 'null')
    || ',"generation_id":"' || g.id || '","worker_id":"' || g.worker_id || '"'"""

_PROVENANCE = f""" || ',"task_id":"' || b.task_id || '","batch_id":"' || b.id
  || '","annotation_ids":["' || won.answer_ids || '"],"votes":' || won.votes
  || ',"annotator":"' || left(encode(sha256(convert_to($7::text || won.first_user, 'UTF8')), 'hex'), 16) || '"'
  || $8::text
  || ',"variables_json":' || {_text("p.variables::text")} || ',"schema_version":{SCHEMA_VERSION}'"""
_WHO_DECIDED = """, string_agg(a.id::text, '","' order by a.id) as answer_ids,
      (array_agg(a.user_id::text order by a.id))[1] as first_user"""


# The rules of dpo.decide. All generations of a task carry the moment of its freeze in their ids: $3 and $4 leave one
# partition to look into instead of every month there is.
def _lines(*, image: str, provenance: str, who_decided: str) -> str:
    return f"""
select '{{"prompt":' || {_text("p.text")} || ',"chosen":' || shown.chosen || ',"rejected":[' || shown.rejected || ']'
  || $6::text || ',"created_at":"' || to_char(won.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '"'
  {provenance} || '}}'
from batches b
join prompts p on p.id = b.prompt_id
cross join lateral (
  select voted.*, max(votes) over () as most, count(*) over (partition by votes) as rivals
  from (
    select a.chosen_index, count(*) as votes, max(a.created_at) as created_at,
      case when count(a.rejected_index) = count(*) and min(a.rejected_index) = max(a.rejected_index)
           then min(a.rejected_index) end as rejected_index{who_decided}
    from annotations a where a.batch_id = b.id and a.kind = 'choice' and not a.surplus group by a.chosen_index
  ) voted
) won
cross join lateral (
  select
    max(json) filter (where candidate_index = won.chosen_index) as chosen,
    string_agg(json, ',' order by candidate_index) filter (
      where candidate_index <> won.chosen_index and candidate_index = coalesce(won.rejected_index, candidate_index)
    ) as rejected
  from (
    select g.candidate_index, {image} || '}}' as json from generations g
    where g.batch_id = b.id and g.candidate_index is not null and g.id >= $3 and g.id < $4
  ) candidates
) shown
where b.task_id = $1 and b.position > $2 and b.ready_at is not null and b.spam_at is null
  and won.votes = won.most and won.rivals = 1 and b.candidates >= 2
order by b.position
"""


_LINES: Mapping[Profile, str] = {
    "default": _lines(image=_IMAGE, provenance="", who_decided=""),
    "full": _lines(image=_IMAGE + _FULL_IMAGE, provenance=_PROVENANCE, who_decided=_WHO_DECIDED),
}


async def copy_lines(
    connection: Connection,
    task: ExportedTask,
    *,
    profile: Profile,
    base_uri: str,
    pseudonym_key: str,
    after_position: int,
    output: Callable[[bytes], Coroutine[Any, Any, None]],
) -> None:
    """Whole lines to `output`, in one snapshot, inside the caller's transaction. A slow output slows the server."""
    assert task.frozen_at is not None
    facts = task.facts
    shared = {
        "workflow_id": str(facts.workflow_id),
        "model": facts.model,
        "variable_pool_version": facts.variable_pool_version,
    }
    arguments = [
        facts.task_id,
        after_position,
        # A day to both sides, so that no rounding of the moment can ever leave an image out.
        uuid7_floor(task.frozen_at - timedelta(days=1)),
        uuid7_floor(task.frozen_at + timedelta(days=1)),
        _json(f"{base_uri}/")[1:-1],
        "," + _json(shared)[1:-1],
    ]
    if profile == "full":
        of_task = {"snapshot_digest": facts.snapshot_digest, "seed_mode": facts.seed_mode}
        arguments += [pseudonym_key, "," + _json(of_task)[1:-1]]
    await connection.execute(_STREAMING_PLAN)
    await connection.copy_from_query(
        _LINES[profile], *arguments, output=output, format="csv", quote=_QUOTE, delimiter=_DELIMITER
    )


def _json(value: object) -> str:
    """As `_text`, for what all lines share."""
    text = orjson.dumps(value).decode()
    for character in ("\u2028", "\u2029", "\x85"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# --- the summary

# The reasons in the order of dpo.decide.
_FATES = """
select fate, count(*) as batches from (
  select case
    when b.ready_at is null then 'not_ready'
    when b.spam_at is not null then 'spam'
    when voted.most is null then case when other.tie then 'tie' when other.skip then 'skipped' else 'unanswered' end
    when voted.rivals > 1 then 'draw'
    when b.candidates < 2 then 'single_image'
    else 'line'
  end as fate
  from batches b
  left join (
    select batch_id, max(votes) as most, (array_agg(equal order by votes desc))[1] as rivals from (
      select batch_id, count(*) as votes, count(*) over (partition by batch_id, count(*)) as equal
      from annotations where task_id = $1 and kind = 'choice' and not surplus group by batch_id, chosen_index
    ) images group by batch_id
  ) voted on voted.batch_id = b.id
  left join (
    select batch_id, bool_or(kind = 'tie') as tie, bool_or(kind = 'skip') as skip
    from annotations where task_id = $1 and kind in ('tie', 'skip') and not surplus group by batch_id
  ) other on other.batch_id = b.id
  where b.task_id = $1
) batches group by fate
"""


@dataclass(frozen=True, slots=True)
class Fates:
    lines: int
    left_out: dict[str, int]


async def count_fates(connection: Connection, task_id: UUID) -> Fates:
    counts = {row["fate"]: row["batches"] for row in await connection.fetch(_FATES, task_id)}
    return Fates(counts.get("line", 0), {reason.value: counts.get(reason.value, 0) for reason in LeftOut})


_ANSWERS = """
select case when surplus then 'surplus' else kind end as kind, count(*) as answers
from annotations where task_id = $1 group by 1
"""


async def count_answers(connection: Connection, task_id: UUID) -> dict[str, int]:
    """By kind; those beyond the overlap are `surplus` whatever they say."""
    return {row["kind"]: row["answers"] for row in await connection.fetch(_ANSWERS, task_id)}


# --- single batches

_SOME_CHOSEN = """
select distinct batch_id from annotations
where task_id = $1 and kind = 'choice' and not surplus order by batch_id limit $2
"""


async def some_batches_with_a_choice(connection: Connection, task_id: UUID, limit: int) -> list[UUID]:
    return [row["batch_id"] for row in await connection.fetch(_SOME_CHOSEN, task_id, limit)]


# Columns in the order of the fields of Candidate and Answer.
_JUDGED = """
select b.id, p.text, p.variables, b.ready_at is not null as ready, b.spam_at is not null as spam,
  array(select (g.id, g.candidate_index, $2::text || g.image_uri, g.seed_value, g.batch_index, g.batch_size,
                g.checksum, g.bytes, g.width, g.height, g.worker_id)
        from generations g where g.batch_id = b.id and g.candidate_index is not null
        order by g.candidate_index) as candidates,
  array(select (a.id, a.kind, a.chosen_index, a.rejected_index, a.surplus, a.user_id, a.created_at)
        from annotations a where a.batch_id = b.id order by a.id) as answers
from batches b join prompts p on p.id = b.prompt_id
where b.id = any($1) order by b.position
"""


async def judged_batches(connection: Connection, batch_ids: Sequence[UUID], base_uri: str) -> list[JudgedBatch]:
    return [
        JudgedBatch(
            batch_id=row["id"],
            prompt=row["text"],
            variables=row["variables"],
            ready=row["ready"],
            spam=row["spam"],
            candidates=[Candidate(*values) for values in row["candidates"]],
            answers=[Answer(*values) for values in row["answers"]],
        )
        for row in await connection.fetch(_JUDGED, list(batch_ids), f"{base_uri}/")
    ]
