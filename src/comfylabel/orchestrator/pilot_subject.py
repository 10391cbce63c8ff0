"""What a pilot is run on: the task as it is now, its heaviest prompts, and the plan made from them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph
from comfylabel.db.pool import Connection
from comfylabel.orchestrator.ingest import StoredImage
from comfylabel.tasks import pilot as rules
from comfylabel.tasks import prompts_repository
from comfylabel.tasks import repository as tasks_repository
from comfylabel.tasks.pilot import SAMPLES, PilotPlan
from comfylabel.tasks.plan import SeedDraw
from comfylabel.workflows import repository as workflows_repository
from comfylabel.workflows.schemas import Workflow


@dataclass(frozen=True, slots=True)
class Subject:
    """`prompts`, `seeds_per_prompt`: how much the whole task is, for the forecast."""

    pilot_id: UUID
    task_id: UUID
    priority: int
    prompts: int
    seeds_per_prompt: int
    workflow: Workflow
    plan: PilotPlan

    @property
    def graph(self) -> Graph:
        return self.workflow.raw_definition

    @property
    def bindings(self) -> Bindings:
        return self.workflow.bindings

    def metadata(self, image: StoredImage) -> dict[str, Any]:
        return {
            "workflow_version": self.workflow.version,
            "model": self.workflow.model,
            "resolution": f"{image.width}x{image.height}",
        }


async def load(connection: Connection, pilot_id: UUID) -> Subject | None:
    """None when the pilot has ended, or was cancelled by an edit."""
    pilot = await tasks_repository.get_pilot(connection, pilot_id)
    if pilot is None or pilot.state != "running":
        return None
    task = await tasks_repository.get(connection, pilot.task_id)
    assert task is not None, "a pilot goes with its task"
    workflow = await workflows_repository.get(connection, task.workflow_id)
    assert workflow is not None, "a task keeps its workflow"
    prompts = await prompts_repository.heaviest(connection, task.id, SAMPLES)
    return Subject(
        pilot_id=pilot_id,
        task_id=task.id,
        priority=task.priority,
        prompts=task.target_prompts,
        seeds_per_prompt=task.seeds_per_prompt,
        workflow=workflow,
        plan=rules.plan(
            prompts,
            workflow.raw_definition,
            workflow.bindings,
            planned_batch_size=task.batch_size,
            draw=SeedDraw(task.sampling_seed),
        ),
    )
