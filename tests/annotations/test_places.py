"""What answers do to the places of a batch: `taken`, leases, the person's own row, and who hears of a free place."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from tests.annotations.conftest import Labelling


@pytest.fixture
def freed(labelling: Labelling, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The tasks of which the dispenser hears."""
    heard: list[UUID] = []
    monkeypatch.setattr(labelling.api.app.state.annotations, "_came_back", heard.append)
    return heard


async def test_an_answer_takes_the_place_of_its_lease(labelling, freed):
    await labelling.lease()
    await labelling.stored(chosen_index=0)
    assert (await labelling.taken(), await labelling.holders(), await labelling.answered()) == (1, set(), 1)
    assert freed == []


async def test_an_answer_without_a_lease_takes_a_place(labelling):
    """From a browsed page, or after everything was given back."""
    await labelling.stored(chosen_index=0)
    assert (await labelling.taken(), await labelling.answered()) == (1, 1)


async def test_an_answer_after_its_lease_went_to_somebody_else_counts_where_nobody_has_answered(labelling):
    """Both looked at the batch; who answers first counts, the other one is kept."""
    await labelling.lease("operator")

    assert (await labelling.stored("annotator", chosen_index=0))["surplus"] is False
    assert (await labelling.taken(), await labelling.holders()) == (2, {await labelling.user_id("operator")})

    assert (await labelling.stored("operator", chosen_index=1))["surplus"] is True
    assert (await labelling.taken(), await labelling.holders()) == (1, set())


async def test_an_answer_after_somebody_else_has_answered_is_kept_as_surplus(labelling):
    await labelling.lease("operator")
    await labelling.stored("operator", chosen_index=1)

    assert (await labelling.stored("annotator", chosen_index=0))["surplus"] is True

    assert [(row["chosen_index"], row["surplus"]) for row in await labelling.rows()] == [(1, False), (0, True)]
    assert (await labelling.taken(), await labelling.answered("annotator")) == (1, 1)


async def test_a_skip_gives_the_lease_back(labelling, freed):
    await labelling.lease()
    await labelling.stored(kind="skip")
    assert (await labelling.taken(), await labelling.holders(), await labelling.answered()) == (0, set(), 1)
    assert freed == [labelling.task.id]


async def test_a_spam_ends_the_leases_of_everybody(labelling):
    await labelling.execute("update tasks set overlap = 3")
    for role in ("annotator", "operator", "admin"):
        await labelling.lease(role)
    await labelling.stored(kind="spam")
    assert (await labelling.taken(), await labelling.holders()) == (1, set())


async def test_an_answer_that_replaces_one_is_no_second_one(labelling):
    await labelling.stored(chosen_index=0)
    await labelling.stored(kind="tie")
    assert (await labelling.taken(), await labelling.answered()) == (1, 1)


async def undo(labelling: Labelling) -> None:
    await labelling.undone("c1", "u1")


async def skip(labelling: Labelling) -> None:
    await labelling.stored(kind="skip")


async def take_spam_back(labelling: Labelling) -> None:
    await labelling.stored(batch=1, kind="spam")
    await labelling.stored(batch=1, kind="tie")


@pytest.mark.parametrize("give_back", [undo, skip, take_spam_back])
async def test_who_gives_a_place_back_is_heard(labelling, freed, give_back: Callable[[Labelling], Awaitable[None]]):
    await labelling.stored(chosen_index=0, client_id="c1")
    assert freed == []
    await give_back(labelling)
    assert freed == [labelling.task.id]


async def test_who_changes_an_answer_or_repeats_one_frees_nothing(labelling, freed):
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.stored(chosen_index=1, client_id="c2")
    await labelling.stored(chosen_index=1, client_id="c2")
    await labelling.post(chosen_index=9)
    assert freed == []


async def test_an_answer_is_a_contact(labelling):
    await labelling.stored(batch=0, chosen_index=0)
    for kind in ("tie", "skip"):  # one stored in one statement, one with more to weigh
        await labelling.execute("update labellers set seen_at = now() - interval '1 hour'")
        await labelling.stored(batch=1, kind=kind)
        assert await labelling.value("select now() - seen_at < interval '1 minute' from labellers")


async def test_a_contact_never_moves_back(labelling):
    """Another process has noted a later one while this answer waited."""
    await labelling.stored(batch=0, chosen_index=0)
    later = "select seen_at from labellers"
    await labelling.execute("update labellers set seen_at = now() + interval '5 seconds'")
    noted = await labelling.value(later)
    await labelling.stored(batch=1, kind="tie")
    await labelling.stored(batch=2, kind="skip")
    assert await labelling.value(later) == noted
