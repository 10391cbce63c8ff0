from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.generations.progress import Counts, PromptProgress, Totals, untouched, untouched_prompts


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    done, running, failed, pending = (draw(st.integers(0, 10**6)) for _ in range(4))
    return Counts(done + running + failed + pending, done, running, failed)


@given(counts())
def test_total_is_always_done_running_pending_and_failed(of: Counts) -> None:
    told = of.to_json()
    assert told["total"] == told["done"] + told["running"] + told["pending"] + told["failed"]
    assert all(number >= 0 for number in told.values())


@given(st.lists(counts(), max_size=10))
def test_the_counts_of_prompts_add_up_to_those_of_the_task(parts: list[Counts]) -> None:
    fields = ("total", "done", "running", "failed")
    whole = Counts(*(sum(getattr(part, field) for part in parts) for field in fields))
    for key, number in whole.to_json().items():
        assert number == sum(part.to_json()[key] for part in parts)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_of_a_draft_everything_is_pending(prompts: int, seeds: int) -> None:
    totals = untouched(prompts, seeds)
    assert totals.counts.to_json() == {
        "total": prompts * seeds, "done": 0, "running": 0, "pending": prompts * seeds, "failed": 0,
    }  # fmt: skip
    page = untouched_prompts([(uuid4(), position, "a cat") for position in range(3)], seeds)
    assert [row.to_json()["pending"] for row in page] == [seeds] * 3


def test_a_row_is_the_guides_with_the_counts_beside() -> None:
    row = PromptProgress(UUID(int=1), 7, "a cat", Counts(4, 3, 0, 1), 3, "execution error on node 3: ...")
    assert row.to_json() == {
        "prompt_id": UUID(int=1),
        "position": 7,
        "text": "a cat",
        "done": 3,
        "running": 0,
        "pending": 0,
        "failed": 1,
        "retries_used": 3,
        "reason": "execution error on node 3: ...",
    }


def test_the_summary_says_how_many_prompts_are_whole() -> None:
    counts = Counts(4000, 3990, 0, 10)
    assert Totals(counts, 1000, 997, 3, 1000).summary == "997 of 1000 prompts, 3 failed"
    assert Totals(counts, 1000, 1000, 0, 1000).summary == "1000 of 1000 prompts"
