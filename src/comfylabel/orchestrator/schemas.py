"""What the orchestrator carries from one step to the next."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator.retry_policy import Failure


@dataclass(frozen=True, slots=True)
class Plan:
    """One graph to be run: a chunk of a frozen task, or one step of a pilot.

    `width`, `height` are None where the graph's own size stands; `batch_size` is the number of images expected.
    """

    task_id: UUID
    prompt_id: UUID
    chunk: int
    pilot_id: UUID | None
    workflow_id: UUID
    priority: int
    graph: Graph
    bindings: Bindings
    text: str
    seed: int
    batch_size: int
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A row of `submissions` that has not ended, or was just reserved. `sent_at` is the database's own moment, which
    names a POST; `sent_since` is about the same by the clock of this process.
    """

    id: UUID
    worker_id: UUID
    state: SubmissionState
    attempt: int
    sent_at: datetime | None = None
    sent_since: float = 0.0


@dataclass(frozen=True, slots=True)
class MissingImage:
    """A generation that is not done; `batch_index` is its place in the chunk."""

    generation_id: UUID
    batch_index: int
    state: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What the database says of one planned submission at this moment."""

    task_id: UUID
    prompt_id: UUID
    number: int
    batch_id: UUID
    workflow_id: UUID
    task_state: str
    is_paused: bool
    priority: int
    text: str
    seed: int
    batch_size: int
    retries_used: int
    losses: int
    attempts: int
    submission: Submission | None
    avoid: frozenset[UUID] = frozenset()  # workers on which it has run out of memory
    missing: list[MissingImage] = field(default_factory=list)


class Superseded(Exception):
    """Another owner, a pause or a cancel has decided about this submission: read the rows again."""


class SubmissionFailed(Exception):
    """Raised along the life of a submission; `generate` turns it into rows. `submission` once there is one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.submission: Submission | None = None

    @property
    def ended(self) -> Submission:
        """The submission that failed, once it has left `SubmissionLife`."""
        assert self.submission is not None
        return self.submission
