from random import Random
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.graph import Bindings, Graph
from comfylabel.tasks.cost import Load, Work, heaviest_first, why, work_of
from tests.support.rows import BINDINGS, GRAPH

bindings = Bindings.from_json(BINDINGS)
loads = st.lists(
    st.builds(Load, st.uuids(), st.integers(0, 1000), st.integers(1, 5), st.integers(1, 5)),
    min_size=1,
    max_size=10,
    unique_by=lambda load: load.position,
)


@given(loads, st.randoms())
def test_nothing_is_heavier_than_the_heaviest(unordered: list[Load], random: Random) -> None:
    ordered = heaviest_first(unordered)
    assert sorted(ordered, key=lambda load: load.position) == sorted(unordered, key=lambda load: load.position)
    assert all((ordered[0].work, ordered[0].text_length) >= (load.work, load.text_length) for load in ordered)
    shuffled = list(unordered)
    random.shuffle(shuffled)
    assert heaviest_first(shuffled) == ordered


@given(st.integers(1, 8))
def test_work_grows_with_the_batch(size: int) -> None:
    assert work_of(GRAPH, bindings, size).amount == 1024 * 1024 * 20 * size


def test_a_controlnet_on_the_way_to_a_kept_image_counts() -> None:
    graph: Graph = {
        **GRAPH,
        "3": {**GRAPH["3"], "inputs": {**GRAPH["3"]["inputs"], "positive": ["7", 0]}},  # type: ignore[dict-item]  # GRAPH is plain JSON
        "7": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0]}},
        "8": {"class_type": "ControlNetApply", "inputs": {}},
    }
    assert work_of(graph, bindings, 1).amount == 2 * work_of(GRAPH, bindings, 1).amount
    assert str(work_of(graph, bindings, 1)) == "1024 x 1024 pixels, 20 steps, 1 ControlNet"


def test_what_cannot_be_read_counts_once() -> None:
    unread = work_of({"9": {"class_type": "SaveImage", "inputs": {}}}, Bindings(images=("9",)), 1)
    assert (unread.amount, str(unread)) == (1, "no ControlNet")


def load(work: int, length: int, position: int = 0) -> Load:
    return Load(UUID(int=uuid4().int), position, work, length)


WORK = Work(768, 512, 20, 0, 4)


def test_why_says_what_decided_and_how_much_that_is() -> None:
    numbers = "768 x 512 pixels, 20 steps, no ControlNet, 4 images a submission"
    assert why([load(1, 1)], WORK) == f"the only prompt (1 character; {numbers})"
    assert why([load(2, 1), load(1, 9)], WORK).startswith("most pixels x steps x ControlNets x batch size (1 ")
    longest = "longest text; size, steps and ControlNets are the same for all"
    assert why([load(1, 9), load(1, 8)], WORK) == f"{longest} (9 characters; {numbers})"
    assert why([load(1, 9), load(1, 9, 1)], WORK).startswith("first of the longest texts; ")
