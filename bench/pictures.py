"""Files behind the addresses of a task's images: drawn once, a few, and linked under every key."""

import os
from itertools import product
from pathlib import Path

import pyvips

from bench.at_work import AtWork
from comfylabel.comfy.simulator.pictures import Picture, draw

DISTINCT = 16
GRAIN = 10  # of 255; a tile of 640 px then has some 60 kB
SIZES = {"thumbnail_uri": 256, "tile_uri": 640, "preview_uri": 1024}


def draw_files(folder: Path) -> dict[str, list[Path]]:
    """By column, as ingestion would make them of images of 1024 x 1024."""
    folder.mkdir(parents=True)
    made: dict[str, list[Path]] = {column: [] for column in SIZES}
    for number, (column, size) in product(range(DISTINCT), SIZES.items()):
        file = folder / f"{number}.{size}.webp"
        file.write_bytes(photograph(number).thumbnail_image(size).webpsave_buffer(Q=80))
        made[column].append(file)
    return made


def photograph(number: int) -> pyvips.Image:
    """1024 x 1024, with grain, so that its files are as heavy as those of photographs."""
    drawn = draw(Picture(1024, 1024, f"prompt {number // 4}", seed=number, batch_index=number % 4))
    grain = pyvips.Image.gaussnoise(1024, 1024, sigma=GRAIN, mean=0, seed=number)
    return (drawn + grain).cast("uchar")


def draw_pngs(folder: Path, distinct: int) -> None:
    """As a ComfyUI saves them."""
    folder.mkdir(parents=True)
    for number in range(distinct):
        (folder / f"{number}.png").write_bytes(photograph(number).pngsave_buffer(compression=4, keep="none"))


async def link_files(at_work: AtWork, made: dict[str, list[Path]]) -> None:
    for row in await at_work.database.pool.fetch(
        f"select position, seed_value, {', '.join(SIZES)} from generations where state = 'done'"
    ):
        for column, files in made.items():
            path = at_work.object_path(row[column])
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(files[(row["seed_value"] * 4 + row["position"]) % DISTINCT], path)


def link_for_bare_page(folder: Path, files: list[Path], groups: int) -> None:
    folder.mkdir()
    for group, place in product(range(groups), range(4)):
        os.link(files[(group * 4 + place) % DISTINCT], folder / f"{group}-{place}.webp")
