"""What our own processes and PostgreSQL complained of in their logs, and nobody had foreseen: each is a fault, or gets
its reason here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Said again for as long as it is so, and true: the faults of a run take every worker away now and then.
_FORESEEN_EVENTS = {"runs_wait_for_a_worker", "tasks_wait_for_an_able_worker"}
_FORESEEN_TEXTS = (
    # asyncpg's pool, of a database that is away; whoever needs a connection meanwhile is told by other means.
    "Failed to restore the pool connection floor; retrying",
)
# Started while the database is away: it says so and ends with 1, and whoever supervises it starts it again.
_FORESEEN_ENDS = ("The database does not answer: ", "Application startup failed. Exiting.")
_FORESEEN_ERRORS = ("comfylabel.errors.Unavailable: The database does not answer: ",)

_CHAINS = ("During handling of the above exception", "The above exception was the direct cause")
_GOES_ON = ("DETAIL: ", "HINT: ", "future: ")

_POSTGRES = re.compile(r"(?:PANIC|ERROR): .*|.*\bwas terminated by signal .*|.*deadlock detected.*")


def unforeseen(directory: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in (*directory.glob("serve-*.log"), *directory.glob("orchestrate-*.log")):
        found.update(of_log(path.read_text(errors="replace")))
    for path in directory.glob("postgres.log"):
        found.update(match[0] for match in _POSTGRES.finditer(path.read_text(errors="replace")))
    return found


def is_foreseen_end(status: int | None, last_words: str) -> bool:
    return status == 1 and last_words.startswith(_FORESEEN_ENDS)


def of_log(text: str) -> Iterator[str]:
    """JSON lines of our own, and what libraries say in plain text, with a traceback or without."""
    said = error = ""  # `error`: the last one of a traceback, unless another is to follow from it
    is_trace = False
    for line in [*text.splitlines(), "{}"]:
        if line.startswith(_CHAINS):
            error = ""
        elif line.startswith("Traceback "):
            is_trace = True
        elif is_trace and line and not line.startswith(" "):
            is_trace, error = False, line
        elif not is_trace and line.strip() and not line.startswith(_GOES_ON):
            if error and said not in _FORESEEN_TEXTS and not error.startswith(_FORESEEN_ERRORS):
                yield f"{said or 'a traceback'} ({error})"
            said = error = ""
            if line.startswith("{"):
                yield from _of_event(line)
                continue
            said = line.strip()
            if not said.startswith((*_FORESEEN_TEXTS, *_FORESEEN_ENDS)):
                yield said


def _of_event(line: str) -> Iterator[str]:
    try:
        entry = json.loads(line)
    except ValueError:
        return  # cut short by a kill
    if "event" not in entry:
        return
    trace = entry.get("exception") or entry.get("traceback")
    if trace:
        yield f"{entry['event']} ({trace.strip().splitlines()[-1]})"
    elif entry.get("level") in ("error", "critical") and entry["event"] not in _FORESEEN_EVENTS:
        yield str(entry["event"])
