"""The plan of a task: its prompts, their seeds, how images are cut into submissions, and the ids they get. Pure.

Everything is computed from the stored sampling seed and a counter, so a plan of any size costs no memory.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from comfylabel.errors import InvalidField, InvalidInput
from comfylabel.variable_pools.composing import compose
from comfylabel.variable_pools.sampling import IndexPermutation, capacity, combinations
from comfylabel.variable_pools.schemas import VariablePool

SeedMode = Literal["native", "loop"]

# Larger seeds break bigint columns, JavaScript and readers of JSON.
SEED_SPACE = 2**53
# Fresh seeds of a pilot come from the far half of the permutation, which no plan reaches.
FIRST_FRESH_SEED = 2**52

MAX_SEEDS_PER_PROMPT = 1000
MAX_PROMPTS = 1_000_000
# What one task's month of `generations` was designed for.
MAX_IMAGES = 10_000_000
# Far beyond what any text encoder reads. A file of 10 MB can hold a million placeholders, each for an item of 10 kB.
MAX_TEXT_LENGTH = 20_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


# --- what may be asked for


def check_size(target_prompts: int, seeds_per_prompt: int) -> None:
    if not 1 <= target_prompts <= MAX_PROMPTS:
        raise InvalidField("target_prompts", f"must be between 1 and {MAX_PROMPTS}")
    if not 1 <= seeds_per_prompt <= MAX_SEEDS_PER_PROMPT:
        raise InvalidField("seeds_per_prompt", f"must be between 1 and {MAX_SEEDS_PER_PROMPT}")
    if target_prompts * seeds_per_prompt > MAX_IMAGES:
        raise InvalidField("target_prompts", f"x seeds_per_prompt must not exceed {MAX_IMAGES} images")


def check_capacity(pools: Sequence[VariablePool], target_prompts: int) -> None:
    """Refuses more unique prompts than the pools can give, with the number that they can."""
    possible = capacity(pools)
    if target_prompts <= possible:
        return
    sizes = " x ".join(f"{len(pool.items)} ({pool.name})" for pool in pools) or "no variable pool"
    raise InvalidInput(
        f"target_prompts is {target_prompts}, but these variable pools give {possible} different prompts: {sizes}.",
        code="over_capacity",
        data={
            "capacity": possible,
            "errors": [{"path": "target_prompts", "error": f"must be at most {possible}"}],
        },
    )


def check_template(template: str) -> None:
    if len(template) > MAX_TEXT_LENGTH:
        raise InvalidField("workflow_id", f"has a prompt text of more than {MAX_TEXT_LENGTH} characters")


def pool_versions(pools: Sequence[VariablePool]) -> str:
    """`v5` for one pool, `dress:v5,lighting:v2` for several; always a text."""
    if len(pools) == 1:
        return f"v{pools[0].version}"
    return ",".join(f"{pool.name}:v{pool.version}" for pool in pools)


# --- prompts and seeds


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """All rows of a new task, one after the other; walk them as often as you like, they are the same each time."""

    task_id: UUID
    sampling_seed: int
    template: str
    pools: Sequence[VariablePool]
    prompts: int
    seeds_per_prompt: int

    def prompt_rows(self) -> Iterator[tuple[UUID, UUID, int, str, dict[str, str]]]:
        """(id, task_id, position, text, variables)"""
        ids = CountedIds(self.task_id, "prompt")
        names = [pool.name for pool in self.pools]
        combined = islice(combinations(self.pools, self.sampling_seed), self.prompts)
        for position, items in enumerate(combined):
            variables = dict(zip(names, items, strict=True))
            text = compose(self.template, variables)
            if len(text) > MAX_TEXT_LENGTH:
                raise InvalidField("variable_pool_ids", f"make a prompt of more than {MAX_TEXT_LENGTH} characters")
            yield ids[position], self.task_id, position, text, variables

    def seed_rows(self) -> Iterator[tuple[UUID, UUID, int, int]]:
        """(id, prompt_id, position, seed_value)"""
        prompt_ids, ids = CountedIds(self.task_id, "prompt"), CountedIds(self.task_id, "seed")
        draw = SeedDraw(self.sampling_seed)
        for number in range(self.prompts * self.seeds_per_prompt):
            prompt, position = divmod(number, self.seeds_per_prompt)
            yield ids[number], prompt_ids[prompt], position, draw[number]


class SeedDraw:
    """Seed number i of a task is `draw[i]`: a keyed permutation of [0, 2^53), so no two numbers share a seed."""

    def __init__(self, sampling_seed: int) -> None:
        # A key of its own: seeds must not follow the order in which pool items are drawn.
        self._permutation = IndexPermutation(SEED_SPACE, sampling_seed + SEED_SPACE)

    def __getitem__(self, number: int) -> int:
        return self._permutation[number]

    def of_prompt(self, position: int, seeds_per_prompt: int) -> list[int]:
        first = position * seeds_per_prompt
        return [self._permutation[number] for number in range(first, first + seeds_per_prompt)]

    def fresh(self, number: int) -> int:
        """A seed that no prompt of the plan has."""
        return self._permutation[FIRST_FRESH_SEED + number]


# --- submissions


def batch_size(seed_mode: SeedMode, seeds_per_prompt: int, max_batch_size: int) -> int:
    """Images a submission makes: a native batch within the workflow's limit, or one by one."""
    return min(seeds_per_prompt, max_batch_size) if seed_mode == "native" else 1


def chunks(seeds_per_prompt: int, size: int) -> list[int]:
    """How many images each submission of a prompt makes; the last takes what is left."""
    return [min(size, seeds_per_prompt - first) for first in range(0, seeds_per_prompt, size)]


def overrides_of(pilot_overrides: Mapping[str, Any] | None, planned_batch_size: int) -> dict[str, int | None]:
    """What freeze writes down: the size that the last valid pilot found; nothing without one."""
    found = pilot_overrides or {}
    size = found.get("batch_size")
    return {
        "width": found.get("width"),
        "height": found.get("height"),
        "batch_size": max(1, min(size, planned_batch_size)) if size is not None else None,
    }


# --- ids


def generation_id(frozen_at: datetime, prompt_id: UUID, position: int) -> UUID:
    """The id of image `position` of a prompt: a UUIDv7 of the freeze, the rest a hash.

    A plan that is inserted twice meets the primary key: no unique key on (prompt, seed) could stand on a
    partitioned table. `freeze_repository` computes the same in SQL.
    """
    digest = hashlib.sha256(f"{prompt_id}:{position}".encode()).hexdigest()
    variant = "89ab"[int(digest[3], 16) & 3]
    return UUID(f"{milliseconds(frozen_at):012x}7{digest[:3]}{variant}{digest[4:19]}")


def milliseconds(moment: datetime) -> int:
    """Since 1970, exactly: `timestamp()` is a float and may fall one short."""
    return (moment - _EPOCH) // _MILLISECOND


class CountedIds:
    """UUIDv7 ids in the order of a counter, of the moment that `owner` (a UUIDv7) was made, for rows made in one go.

    12 + 20 bits of counter, then 42 bits of `owner` and `kind`: they meet no other owner's, and they fill an index
    from left to right.
    """

    def __init__(self, owner: UUID, kind: str) -> None:
        own = int.from_bytes(hashlib.sha256(f"{owner}:{kind}".encode()).digest()[:6], "big") >> 6
        self._base = owner.int >> 80 << 80 | 0x7 << 76 | 0x2 << 62 | own

    def __getitem__(self, number: int) -> UUID:
        return UUID(int=self._base | (number >> 20) << 64 | (number & 0xFFFFF) << 42)
