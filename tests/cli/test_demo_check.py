"""The demo's check must be able to fail: every way of lying about an image is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.cli.demo_check import KEYS, Asked, Image, compare_counts, compare_exports, compare_images, made_images

# Pictures are deterministic in their name, as the simulators' are.
images = st.lists(
    st.tuples(st.text(max_size=3), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12, unique=True
).map(lambda names: [Image(*name, pixels=f"pixels of {name}") for name in names])


@given(images, st.randoms(use_true_random=False))
def test_what_was_made_in_any_order_is_right(made, random) -> None:
    exported = random.sample(made, len(made))
    assert list(compare_images(made, exported)) == []


@given(images, st.data())
def test_one_lost_image_is_found(made, data) -> None:
    lost = data.draw(st.sampled_from(made))
    exported = [image for image in made if image != lost]
    assert list(compare_images(made, exported)) == [f"Lost: {lost}."]


@given(images, st.data())
def test_one_doubled_image_is_found(made, data) -> None:
    doubled = data.draw(st.sampled_from(made))
    assert list(compare_images(made, [*made, doubled])) == [f"Exported 2 times: {doubled}."]


@given(images, st.data())
def test_an_image_made_twice_is_found(made, data) -> None:
    doubled = data.draw(st.sampled_from(made))
    assert list(compare_images([*made, doubled], made)) == [f"Made 2 times: {doubled}."]


CHANGES: list[Callable[[Image], Image]] = [
    lambda image: replace(image, seed=image.seed + 100),
    lambda image: replace(image, batch_index=image.batch_index + 100),
    lambda image: replace(image, prompt=image.prompt + "another"),
    lambda image: replace(image, pixels="those of another"),
]


@given(images, st.data(), st.sampled_from(CHANGES))
def test_one_mislabelled_image_is_found(made, data, change) -> None:
    place = data.draw(st.integers(0, len(made) - 1))
    exported = [*made]
    exported[place] = change(exported[place])
    assert list(compare_images(made, exported)) != []


@given(images, st.data())
def test_two_images_that_changed_places_are_found(made, data) -> None:
    first, second = data.draw(st.lists(st.sampled_from(range(len(made))), min_size=2, max_size=2))
    exported = [*made]
    exported[first] = replace(made[first], pixels=made[second].pixels)
    exported[second] = replace(made[second], pixels=made[first].pixels)
    findings = list(compare_images(made, exported))
    assert len(findings) == (0 if first == second else 2)
    assert all(finding.startswith("Mislabelled") for finding in findings)


def full_row(number: int = 1, **changes: Any) -> dict[str, Any]:
    image = {"uri": f"file:///i/{number}.png", "seed": number, "batch_index": 0, "sha256": "", "bytes": 1}
    row: dict[str, Any] = {
        "prompt": "a lake",
        "chosen": image,
        "rejected": [image | {"uri": "file:///i/0.png"}],
        "workflow_id": "w",
        "model": "m",
        "variable_pool_version": "v1",
        "created_at": "2026-11-22T18:00:00Z",
    }
    return row | {"task_id": "t"} | changes


def plain(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    def image(candidate: dict[str, Any]) -> dict[str, Any]:
        return {"uri": candidate["uri"], "seed": candidate["seed"]}

    short = {key: row[key] for key in KEYS}
    return short | {"chosen": image(row["chosen"]), "rejected": [image(one) for one in row["rejected"]]} | changes


def test_a_plain_line_is_the_full_one_with_less_in_it() -> None:
    assert list(compare_exports([plain(full_row())], [full_row()])) == []


@pytest.mark.parametrize(
    ("line", "full", "finding"),
    [
        (plain(full_row(), extra=1), full_row(), "has the keys"),
        (dict(reversed(plain(full_row()).items())), full_row(), "has the keys"),
        (plain(full_row(), prompt="a sea"), full_row(), "differs"),
        (plain(full_row(2)), full_row(), "differs"),
        (plain(full_row(rejected=[])), full_row(rejected=[]), "rejects nothing"),
        (plain(full_row(created_at="2026-11-22")), full_row(created_at="2026-11-22"), "was created at"),
    ],
)
def test_a_line_that_is_not_the_contract_is_found(line, full, finding: str) -> None:
    (found,) = compare_exports([line], [full])
    assert finding in found


def test_a_missing_line_is_found() -> None:
    assert list(compare_exports([plain(full_row())], [])) == ["dpo.jsonl has 1 lines and dpo-full.jsonl 0."]


def test_counts_are_what_was_asked_for() -> None:
    made = [Image("p", 1, index, "x") for index in range(4)]
    assert list(compare_counts(Asked(1, 4), [full_row()], made)) == []
    assert len(list(compare_counts(Asked(2, 4), [full_row()], made))) == 2


def test_only_what_succeeded_counts_as_made() -> None:
    image = {"prompt": "p", "seed": 1, "batch_index": 0, "pixels_sha256": "x"}
    submissions = [{"outcome": outcome, "images": [image]} for outcome in ("success", "error", "interrupted", None)]
    assert list(made_images(submissions)) == [Image("p", 1, 0, "x")]
