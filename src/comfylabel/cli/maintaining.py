"""`comfylabel check` and `comfylabel partitions`, over HTTP, as any admin may ask."""

import os

from rich.console import Console
from rich.table import Table

from comfylabel.cli.api import ApiError, connect


async def check(url: str, token: str | None, *, repair: bool) -> int:
    """1 where something was wrong and was left so."""
    async with connect(url, token=_token(token)) as api:
        if repair:
            found = await api.post("/api/maintenance/counters/repair")
        else:
            found = await api.get("/api/maintenance/counters")
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{found['batches']} batches of {found['tasks']} tasks counted, {found['wrong_count']} wrong.")
    if found["wrong"]:
        table = Table("batch", "stored", "counted", caption="total, done, failed, running, candidates, taken")
        for counter in found["wrong"]:
            table.add_row(counter["batch_id"], _numbers(counter["stored"]), _numbers(counter["counted"]))
        console.print(table)
    if found["wrong_labellers"]:
        table = Table("task", "labeller", "stored", "counted", caption="batches answered")
        for labeller in found["wrong_labellers"]:
            table.add_row(labeller["task_id"], labeller["user_id"], str(labeller["stored"]), str(labeller["counted"]))
        console.print(table)
    if repair:
        console.print(f"{found['repaired']} put right.")
    return 1 if found["wrong_count"] > found["repaired"] else 0


async def list_partitions(url: str, token: str | None) -> int:
    """1 where a row lies outside its month."""
    async with connect(url, token=_token(token)) as api:
        found = await api.get("/api/maintenance/partitions")
    table = Table("partition", "rows, about")
    for partition in found["partitions"]:
        table.add_row(partition["name"], str(max(partition["rows"], 0)))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    if found["strays"]:
        console.print(f"{found['strays']} rows have no month of their own: run `comfylabel partitions repair`.")
    return 1 if found["strays"] else 0


async def repair_partitions(url: str, token: str | None) -> int:
    async with connect(url, token=_token(token)) as api:
        moved = (await api.post("/api/maintenance/partitions/repair"))["moved"]
    Console(soft_wrap=True, highlight=False).print(f"{moved} rows moved to their months.")
    return 0


def _token(given: str | None) -> str:
    token = given or os.environ.get("COMFYLABEL_TOKEN")
    if not token:
        raise ApiError(
            "An admin's API token is needed: --token, or COMFYLABEL_TOKEN. `comfylabel user token` makes one."
        )
    return token


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
