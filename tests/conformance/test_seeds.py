"""What a seed and a place in a batch mean: what the product's rows record rests on these."""

import pytest
import pyvips

from tests.support.served import Served, nonce
from tests.support.simulator import node, text_to_image

# Measured on the genuine server: a latent sampled alone differs by at most one step of 255 from one in a batch.
ROUNDING = 2


def pixels(image: bytes) -> bytes:
    return bytes(pyvips.Image.new_from_buffer(image, "").write_to_memory())


def difference(one: bytes, other: bytes) -> int:
    return max(abs(a - b) for a, b in zip(pixels(one), pixels(other), strict=True))


async def test_images_of_a_batch_differ(server: Served):
    images = await server.images(text_to_image(seed=nonce(), batch_size=4))
    assert len({pixels(image) for image in images}) == 4


async def test_random_seed_behavior_is_the_same_as_none(server: Served):
    seed = nonce()
    plain = await server.images(text_to_image(seed=seed, batch_size=4, prefix="tests/plain"))
    native = await server.images(text_to_image(seed=seed, batch_size=4, behavior="random"))
    assert [pixels(image) for image in native] == [pixels(image) for image in plain]


async def test_fixed_seed_behavior_makes_equal_images(server: Served):
    images = await server.images(text_to_image(seed=nonce(), batch_size=3, behavior="fixed"))
    assert all(difference(image, images[0]) <= ROUNDING for image in images)


async def test_the_first_image_of_a_batch_is_that_of_its_seed_alone(server: Served):
    seed = nonce()
    first, second = await server.images(text_to_image(seed=seed, batch_size=2))
    (alone,) = await server.images(text_to_image(seed=seed))
    (next_seed,) = await server.images(text_to_image(seed=seed + 1))
    assert difference(alone, first) <= ROUNDING
    assert difference(next_seed, second) > ROUNDING  # image k of a batch is never seed + k


async def test_one_image_of_a_batch_can_be_made_alone(server: Served):
    seed = nonce()
    batch = await server.images(text_to_image(seed=seed, batch_size=3))
    graph = text_to_image(seed=seed, batch_size=3, prefix="tests/alone")
    graph["10"] = node("LatentFromBatch", samples=["5", 0], batch_index=2, length=1)
    graph["3"]["inputs"]["latent_image"] = ["10", 0]
    (alone,) = await server.images(graph)
    assert difference(alone, batch[2]) <= ROUNDING


async def test_the_same_submission_makes_the_same_images(server: Served):
    graph = text_to_image(seed=nonce(), batch_size=2)
    before = await server.images(graph)
    await server.client.free()
    again = await server.images(graph)
    assert [pixels(image) for image in again] == [pixels(image) for image in before]


@pytest.mark.parametrize("change", [{"seed": 1}, {"prompt": "a dog"}], ids=["seed", "prompt"])
async def test_another_seed_or_prompt_makes_another_image(server: Served, change: dict[str, object]):
    base = {"seed": nonce(), "prompt": "a cat"}
    (one,) = await server.images(text_to_image(**base))  # type: ignore[arg-type]  # mixed values
    (other,) = await server.images(text_to_image(**(base | change)))  # type: ignore[arg-type]  # mixed values
    assert pixels(one) != pixels(other)


async def test_the_largest_seed_of_the_product_survives(server: Served):
    seed = 2**53 - 1
    entry = await server.run(text_to_image(seed=seed, prefix=f"tests/{nonce()}"))
    assert entry["prompt"][2]["3"]["inputs"]["seed"] == seed


async def test_sizes_are_rounded_down_to_eight(server: Served):
    (image,) = await server.images(text_to_image(seed=nonce(), width=71, height=104))
    picture = pyvips.Image.new_from_buffer(image, "")
    assert (picture.width, picture.height) == (64, 104)
