"""How many images of tasks are made, without counting again what cannot have changed: a list may show fifty tasks of
a hundred thousand prompts each, most of which ended long ago.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.generations import progress_repository
from comfylabel.generations.progress import Totals, untouched
from comfylabel.tasks import under_way_repository
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.schemas import Task

_NOT_BEGUN = {TaskState.DRAFT, TaskState.FROZEN}
_ENDED = {TaskState.DONE, TaskState.FAILED}
_REMEMBERED = 5_000


class Counting:
    """Remembers the totals of tasks that have ended and have nothing open on a worker. Whoever runs one again, or
    repairs its counters, changes its `updated_at`.
    """

    def __init__(self) -> None:
        self._ended: OrderedDict[tuple[UUID, datetime], Totals] = OrderedDict()

    async def of(self, connection: Connection, tasks: Sequence[Task]) -> dict[UUID, Totals]:
        """By task."""
        totals = {task.id: untouched(task.target_prompts, task.seeds_per_prompt) for task in tasks}
        begun = [task for task in tasks if task.state not in _NOT_BEGUN]
        known = {task.id: self._ended[_key(task)] for task in begun if _key(task) in self._ended}
        uncounted = [task for task in begun if task.id not in known]
        ended = [task.id for task in uncounted if task.state in _ENDED]
        # Before they are counted: what is open now may end meanwhile, and nothing new is opened.
        at_rest = await under_way_repository.without_open_submissions(connection, ended) if ended else set()
        counted = await progress_repository.totals(connection, [task.id for task in uncounted]) if uncounted else {}
        for task in uncounted:
            if task.id in at_rest and task.id in counted:
                self._ended[_key(task)] = counted[task.id]
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        return totals | known | counted


def _key(task: Task) -> tuple[UUID, datetime]:
    return task.id, task.updated_at
