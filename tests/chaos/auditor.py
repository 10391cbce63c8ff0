"""Judges what a run has left behind. It shares nothing with the product: see evidence.py.

python -m tests.chaos.auditor DIRECTORY    judges again what was kept of a run; its database must be running
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chaos import audit_answers, audit_counters, audit_images, audit_workers
from tests.chaos.evidence import Evidence, read

CHECKS: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    audit_images.every_planned_image_has_one_row,
    audit_images.every_image_is_done_or_says_why_not,
    audit_images.a_prompt_fails_after_three_counted_retries,
    audit_images.every_done_image_is_the_stored_file,
    audit_images.every_done_image_is_what_its_worker_made,
    audit_images.no_two_images_are_the_same,
    audit_images.no_file_is_an_orphan,
    audit_images.a_pilot_has_its_samples_or_says_why_not,
    audit_images.a_chunk_is_made_once,
    audit_images.candidates_are_numbered_without_a_gap,
    audit_workers.no_worker_is_sent_more_than_its_limit,
    audit_workers.nothing_is_sent_twice_while_it_is_known,
    audit_workers.a_submission_goes_to_one_worker_and_has_a_row,
    audit_workers.what_was_sent_is_what_the_row_says,
    audit_workers.nothing_of_strangers_is_touched,
    audit_workers.an_end_is_what_the_worker_says,
    audit_workers.no_worker_holds_what_is_given_up,
    audit_workers.no_job_has_failed,
    audit_workers.nothing_is_left_open,
    audit_counters.counters_of_batches_are_recounts,
    audit_counters.totals_of_tasks_are_recounts,
    audit_counters.counters_of_labellers_are_recounts,
    audit_counters.counters_of_failures_are_recounts,
    audit_counters.states_are_legal,
    audit_answers.no_acknowledged_answer_is_lost,
    audit_answers.the_last_acknowledged_answer_stands,
    audit_answers.no_answer_came_from_nobody,
    audit_answers.an_answer_names_the_image_that_was_shown,
    audit_answers.no_more_answers_count_than_asked_for,
    audit_answers.as_many_answers_count_as_there_are,
)


def violations(evidence: Evidence) -> list[str]:
    """What is wrong, each line begun by the rule that it breaks."""
    return [f"{check.__name__}: {line}" for check in CHECKS for line in check(evidence)]


async def audit(directory: Path) -> list[str]:
    evidence = await read(directory)
    return await asyncio.to_thread(violations, evidence)


if __name__ == "__main__":
    found = asyncio.run(audit(Path(sys.argv[1])))
    sys.stdout.write("".join(f"{line}\n" for line in [*found, f"{len(found)} violations"]))
    sys.exit(1 if found else 0)
