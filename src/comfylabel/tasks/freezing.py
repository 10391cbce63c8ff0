"""What freeze writes down: the task's recipe and digests, so that all that was sent can be rebuilt from it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from comfylabel.tasks.schemas import Task
from comfylabel.tasks.snapshot import DocumentDigest
from comfylabel.variable_pools.schemas import VariablePool
from comfylabel.workflows.schemas import Workflow

FORMAT = 1


def frozen_snapshot(
    task: Task,
    workflow: Workflow,
    pools: Sequence[VariablePool],
    *,
    frozen_at: datetime,
    overrides: dict[str, int | None],
    batch_size: int,
    document: DocumentDigest,
) -> dict[str, Any]:
    """JSON values only. Prompts and seeds stand in their own frozen rows; their digests tie them to this."""
    return {
        "format": FORMAT,
        "task_id": str(task.id),
        "frozen_at": frozen_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "workflow": {
            "id": str(workflow.id),
            "name": workflow.name,
            "version": workflow.version,
            "model": workflow.model,
            "seed_mode": task.seed_mode,
            "max_batch_size": workflow.max_batch_size,
        },
        "graph": workflow.raw_definition,
        "bindings": workflow.bindings.to_json(),
        "limits": asdict(workflow.limits),
        "variable_pools": [
            {"id": str(pool.id), "name": pool.name, "version": pool.version, "mode": pool.mode} for pool in pools
        ],
        "variable_pool_version": task.variable_pool_version,
        "sampling_seed": task.sampling_seed,
        "overrides": overrides,
        "batch_size": batch_size,
        "counts": {
            "prompts": document.prompts,
            "seeds": document.seeds,
            "seeds_per_prompt": task.seeds_per_prompt,
        },
        "digests": document.digests,
    }


def generation_metadata(workflow: Workflow) -> dict[str, str]:
    """What every image's row says of its origin; the resolution joins when the image is there."""
    return {"workflow_version": workflow.version, "model": workflow.model}
