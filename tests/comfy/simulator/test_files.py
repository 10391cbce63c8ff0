"""Laws of the simulated folders."""

import posixpath
import re

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.simulator.files import Folders, escapes
from comfylabel.comfy.simulator.pictures import Picture

parts = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), max_size=6).map("/".join)
actions = st.lists(st.tuples(st.sampled_from(["save", "delete"]), st.integers(1, 4)), max_size=12)


@given(parts)
def test_a_path_escapes_exactly_when_some_step_of_it_is_outside(path: str):
    outside = path.startswith("/") or any(
        posixpath.normpath(posixpath.join("base", *path.split("/")[:length])).split("/")[0] != "base"
        for length in range(1, path.count("/") + 2)
    )
    assert escapes(path) == outside


@given(actions)
def test_a_batch_gets_the_numbers_after_the_largest_there_is(steps: list[tuple[str, int]]):
    folders = Folders()
    picture = Picture(64, 64)
    for action, count in steps:
        names = sorted(folders.names("output"))
        if action == "delete":
            for name in names[-count:]:
                folders.delete(name.removeprefix("run/"), "run")
            continue
        largest = max((int(name[-10:-5]) for name in names), default=0)
        saved = folders.save((picture,) * count, "run/x", "output", {})
        numbers = [int(re.findall(r"\d+", file.name)[0]) for file in saved]
        assert numbers == list(range(largest + 1, largest + count + 1))
        assert all(file.subfolder == "run" for file in saved)


async def test_a_file_is_the_same_after_it_was_drawn_again():
    folders = Folders()
    files = folders.save(tuple(Picture(512, 512, "a cat", seed) for seed in range(80)), "x", "output", {"prompt": {}})
    first = [await folders.read(file) for file in files[:3]]
    for file in files:
        await folders.read(file)  # more than is kept
    assert [await folders.read(file) for file in files[:3]] == first


def test_temporary_files_go_with_a_restart():
    folders = Folders()
    folders.save((Picture(64, 64),), "x", "temp", {})
    folders.save((Picture(64, 64),), "x", "output", {})
    folders.empty_temp()
    assert folders.names("temp") == []
    assert len(folders.names("output")) == 1
