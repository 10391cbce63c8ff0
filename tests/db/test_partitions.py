from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.db.ids import uuid7, uuid7_floor
from comfylabel.db.partitions import _month_of, _next, count_strays, ensure_partitions, repair_partitions
from comfylabel.db.pool import Connection, Database

PARTITIONS = """
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'generations'::regclass order by 1
"""
NOVEMBER = datetime(2031, 11, 30, 23, 59, 59, tzinfo=UTC)

moments = st.integers(1, 2**40).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))


@given(moments)
def test_every_moment_lies_in_exactly_its_month(moment: datetime) -> None:
    month = _month_of(moment)
    assert month <= moment < _next(month)
    assert _month_of(_next(month) - timedelta(milliseconds=1)) == month
    assert _next(month).day == 1
    assert uuid7_floor(month) <= uuid7(moment) < uuid7_floor(_next(month))


async def partitions(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(PARTITIONS)]


@pytest.mark.postgres_16_too
async def test_months_are_made_once_and_ahead(database: Database) -> None:
    async with database.transaction() as connection:
        before = set(await partitions(connection))
        made = await ensure_partitions(connection, NOVEMBER)
        assert made == ["generations_203111", "generations_203112", "generations_203201"]
        assert await ensure_partitions(connection, datetime(2031, 11, 1, tzinfo=UTC)) == []
        assert set(await partitions(connection)) - before == set(made)
        assert await count_strays(connection) == 0
        assert await repair_partitions(connection) == 0


async def pilot_image(connection: Connection, moment: datetime) -> UUID:
    """A row of that moment; where it lands is what the test is about. A pilot's needs the fewest other rows."""
    task_id, prompt_id, pilot_id, id_ = uuid7(), uuid7(), uuid7(), uuid7(moment)
    workflow_id = uuid7()
    await connection.execute(
        """insert into workflows (id, name, version, model, max_batch_size, seed_mode, status, prompt_nodes,
             seed_nodes, forbidden_nodes, bindings, limits, report, raw_definition)
           values ($1, $2, '1', 'm', 1, 'loop', 'valid', '[]', '[]', '[]', '{}', '{}', '[]', '{}')""",
        workflow_id,
        str(workflow_id),
    )
    await connection.execute(
        """insert into tasks (id, workflow_id, state, target_prompts, seeds_per_prompt, variable_pool_ids,
             variable_pool_version, sampling_seed, seed_mode, batch_size)
           values ($1, $2, 'DRAFT', 1, 1, '{}', 'v1', 0, 'loop', 1)""",
        task_id,
        workflow_id,
    )
    await connection.execute(
        "insert into prompts (id, task_id, position, text) values ($1, $2, 0, '')", prompt_id, task_id
    )
    await connection.execute(
        "insert into pilots (id, task_id, edits, state) values ($1, $2, 0, 'running')", pilot_id, task_id
    )
    await connection.execute(
        """insert into generations (id, task_id, prompt_id, pilot_id, pilot, position, chunk, seed_value,
             batch_index, batch_size) values ($1, $2, $3, $4, true, 0, 0, 7, 0, 1)""",
        id_,
        task_id,
        prompt_id,
        pilot_id,
    )
    return id_


async def place_of(connection: Connection, id_: UUID) -> str:
    return str(await connection.fetchval("select tableoid::regclass::text from generations where id = $1", id_))


@pytest.mark.postgres_16_too
async def test_strays_are_counted_block_their_month_and_are_moved(database: Database) -> None:
    async with database.transaction() as connection:
        images = [await pilot_image(connection, moment) for moment in (NOVEMBER, NOVEMBER + timedelta(days=1))]
        old = await pilot_image(connection, datetime(1999, 1, 1, tzinfo=UTC))
        assert await count_strays(connection) == 3
        assert await ensure_partitions(connection, NOVEMBER) == ["generations_203201"]
        before = await connection.fetch("select * from generations order by id")

        assert await repair_partitions(connection) == 3

        assert await count_strays(connection) == 0
        assert await connection.fetch("select * from generations order by id") == before
        assert [await place_of(connection, image) for image in images] == ["generations_203111", "generations_203112"]
        assert await place_of(connection, old) == "generations_199901"
        assert await repair_partitions(connection) == 0


@pytest.mark.postgres_16_too
async def test_a_stray_that_an_answer_points_at_moves_and_stays_guarded(database: Database) -> None:
    async with database.transaction() as connection:
        image = await pilot_image(connection, NOVEMBER)
        await answer_about(connection, image)
        assert await repair_partitions(connection) == 1
        assert await place_of(connection, image) == "generations_203111"
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with connection.transaction():
                await connection.execute("delete from generations where id = $1", image)


async def answer_about(connection: Connection, image: UUID) -> None:
    user_id, batch_id = uuid7(), uuid7()
    [(task_id, prompt_id)] = await connection.fetch("select task_id, prompt_id from generations where id = $1", image)
    await connection.execute("insert into users (id, name, role) values ($1, 'a', 'annotator')", user_id)
    await connection.execute(
        "insert into batches (id, task_id, prompt_id, position, total) values ($1, $2, $3, 0, 1)",
        batch_id,
        task_id,
        prompt_id,
    )
    await connection.execute(
        """insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index,
             chosen_generation_id) values ($1, $2, $3, $4, $5, 'choice', 0, $6)""",
        uuid7(),
        batch_id,
        task_id,
        prompt_id,
        user_id,
        image,
    )


async def test_an_interrupted_repair_changes_nothing(database: Database) -> None:
    async with database.transaction() as connection:
        image = await pilot_image(connection, NOVEMBER)

    async def repair_and_fail() -> None:
        async with database.transaction() as connection:
            await repair_partitions(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await repair_and_fail()
    async with database.connection() as connection:
        assert await place_of(connection, image) == "generations_default"
        assert await count_strays(connection) == 1
