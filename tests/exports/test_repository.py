"""The stream that the database makes says what dpo.to_line says, whatever was answered and whatever a prompt holds."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfylabel.db.pool import Connection, Database
from comfylabel.exports import repository
from comfylabel.exports.dpo import LeftOut, Profile, to_line
from tests.support.rows import TaskRows, add_task, add_user, add_workflow, annotate

BASE = 'file:///a "base"'
KEY = "key"

# No NUL: PostgreSQL has none. No surrogate: UTF-8 has none.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        'say "hi"',
        "back\\slash \\n \\.",
        "two\r\nlines",
        "\x01\x02\x1f\x7f",
        "\u2028\u2029\x85",
        "猫 é 🐈",
        "</script>",
        "",
    ]
)


@dataclass(frozen=True)
class Said:
    kind: str
    chosen: int | None
    rejected: int | None
    surplus: bool
    second: int


@st.composite
def said(draw: st.DrawFn, images: int) -> Said:
    kind = draw(st.sampled_from(["choice"] * 5 + ["tie", "spam", "skip"]))
    chosen = draw(st.integers(0, images - 1)) if kind == "choice" else None
    others = [None, *(i for i in range(images) if i != chosen)] if kind == "choice" else [None]
    return Said(kind, chosen, draw(st.sampled_from(others)), draw(st.booleans()), draw(st.integers(0, 99)))


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    seeds = draw(st.integers(1, 5))
    failed = draw(st.sets(st.integers(0, seeds - 1), max_size=max(0, seeds - 2)))
    answers = st.lists(said(seeds - len(failed)), max_size=4)
    return {
        "seeds": seeds,
        "batch_size": draw(st.integers(1, seeds)),
        "failed": failed,
        "batches": draw(st.lists(st.tuples(texts, answers), min_size=1, max_size=6)),
        "model": draw(texts),
        "variables": {"dress": draw(texts), 'a "pool"': draw(texts)},
    }


async def tell(connection: Connection, story: dict[str, Any]) -> TaskRows:
    workflow_id = await add_workflow(connection, str(uuid4()), model=story["model"])
    task = await add_task(
        connection,
        "RUNNING",
        prompts=len(story["batches"]),
        seeds=story["seeds"],
        batch_size=story["batch_size"],
        failed=story["failed"],
        texts=[text for text, _ in story["batches"]],
        variables=story["variables"],
        workflow_id=workflow_id,
        finished=True,
    )
    people = [await add_user(connection, str(uuid4())) for _ in range(4)]
    for batch_id, (_, answers) in zip(task.batches, story["batches"], strict=True):
        for person, each in zip(people, answers, strict=False):
            moment = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=each.second)
            await annotate(
                connection,
                batch_id,
                person,
                chosen=each.chosen,
                rejected=each.rejected,
                kind=each.kind,
                surplus=each.surplus,
                created_at=moment,
            )
    return task


async def exported(database: Database, task: TaskRows, profile: Profile = "default", after_position: int = -1) -> bytes:
    lines: list[bytes] = []

    async def keep(chunk: bytes) -> None:
        lines.append(chunk)

    async with database.transaction() as connection:
        found = await repository.get_task(connection, task.id)
        assert found is not None
        await repository.copy_lines(
            connection,
            found,
            profile=profile,
            base_uri=BASE,
            pseudonym_key=KEY,
            after_position=after_position,
            output=keep,
        )
    return b"".join(lines)


async def expected(database: Database, task: TaskRows, profile: Profile) -> list[dict[str, Any] | LeftOut]:
    async with database.connection() as connection:
        found = await repository.get_task(connection, task.id)
        assert found is not None
        judged = await repository.judged_batches(connection, task.batches, BASE)
    return [to_line(batch, found.facts, profile, KEY) for batch in judged]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
async def test_the_stream_and_the_rule_agree(database: Database, story: dict[str, Any]):
    async with database.connection() as connection:
        task = await tell(connection, story)
        fates = await repository.count_fates(connection, task.id)
    for profile in ("default", "full"):
        results = await expected(database, task, profile)
        lines = [result for result in results if isinstance(result, dict)]
        stream = (await exported(database, task, profile)).decode()
        # splitlines also splits at U+0085, U+2028 and U+2029: none may stand raw in a line.
        assert [json.loads(line) for line in stream.splitlines()] == lines
        assert [list(json.loads(line)) for line in stream.splitlines()] == [list(line) for line in lines]
        assert stream == "" or stream.endswith("\n")
        reasons = Counter(result.value for result in results if isinstance(result, LeftOut))
        assert fates.lines == len(lines)
        assert {reason: number for reason, number in fates.left_out.items() if number} == reasons


async def test_batches_that_are_not_ready_are_left_out(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, "RUNNING", prompts=3)
        fates = await repository.count_fates(connection, task.id)
    assert await exported(database, task) == b""
    assert (fates.lines, fates.left_out["not_ready"]) == (0, 3)


async def test_a_cursor_goes_on_where_the_last_line_ended(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, "DONE", prompts=4)
        ann = await add_user(connection)
        for batch_id in task.batches:
            await annotate(connection, batch_id, ann, chosen=0)
        second = await repository.position_of(connection, task.id, task.batches[1])
        other = await add_task(connection, "DONE", prompts=1)
        assert await repository.position_of(connection, task.id, other.batches[0]) is None
    assert second == 1
    whole = (await exported(database, task)).splitlines()
    assert (await exported(database, task, after_position=second)).splitlines() == whole[2:]
