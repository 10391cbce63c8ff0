"""How far a task is, from the counters of its batches. Pure; `total = done + running + pending + failed` always."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Counts:
    """Of images. What waits for its retry is pending, so pending is what is left over."""

    total: int
    done: int
    running: int
    failed: int

    @property
    def pending(self) -> int:
        return self.total - self.done - self.running - self.failed

    def to_json(self) -> dict[str, int]:
        return {
            "total": self.total,
            "done": self.done,
            "running": self.running,
            "pending": self.pending,
            "failed": self.failed,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a task; `whole_prompts` have all their images."""

    counts: Counts
    prompts: int
    whole_prompts: int
    failed_prompts: int
    ready_batches: int

    @property
    def summary(self) -> str:
        """As in "997 of 1000 prompts, 3 failed": failures are isolated, and said."""
        made = f"{self.whole_prompts} of {self.prompts} prompts"
        return f"{made}, {self.failed_prompts} failed" if self.failed_prompts else made


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """`text` is the beginning of what the prompt says."""

    prompt_id: UUID
    position: int
    text: str
    counts: Counts
    retries_used: int
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        counts = self.counts.to_json()
        del counts["total"]
        return {
            "prompt_id": self.prompt_id,
            "position": self.position,
            "text": self.text,
            **counts,
            "retries_used": self.retries_used,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class FailureReason:
    """How many prompts have an image that failed for this reason."""

    reason: str | None
    prompts: int


def untouched(prompts: int, seeds_per_prompt: int) -> Totals:
    """Of a task in DRAFT: everything is pending."""
    return Totals(Counts(prompts * seeds_per_prompt, 0, 0, 0), prompts, 0, 0, 0)


def untouched_prompts(prompts: Sequence[tuple[UUID, int, str]], seeds_per_prompt: int) -> list[PromptProgress]:
    """`prompts`: (id, position, beginning of the text)."""
    counts = Counts(seeds_per_prompt, 0, 0, 0)
    return [PromptProgress(prompt_id, position, text, counts, 0, None) for prompt_id, position, text in prompts]
