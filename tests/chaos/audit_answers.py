"""Checks of answers: what the API has acknowledged is there, once, and what was shown is what is stored."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Row, by

_TOLD = ("kind", "chosen_index", "rejected_index")


def no_acknowledged_answer_is_lost(evidence: Evidence) -> Iterator[str]:
    standing = {(str(row["user_id"]), row["client_id"]): row for row in evidence.tables["annotations"]}
    replaced = by(evidence.tables["annotation_history"], "user_id", "client_id")
    kept = {(str(user), client): [row["answer"] for row in rows] for (user, client), rows in replaced.items()}
    for answer in _acknowledged(evidence):
        key = (answer["user_id"], answer["client_id"])
        found = ([standing[key]] if key in standing else []) + kept.get(key, [])
        if not found:
            yield f"answer {answer['client_id']} to batch {answer['batch_id']} was acknowledged and is gone"
        elif len(found) > 1:
            yield f"answer {answer['client_id']} to batch {answer['batch_id']} is stored {len(found)} times"
        elif tuple(found[0][name] for name in _TOLD) != tuple(answer[name] for name in _TOLD):
            yield f"answer {answer['client_id']} says {[found[0][name] for name in _TOLD]}, sent was {answer}"


def the_last_acknowledged_answer_stands(evidence: Evidence) -> Iterator[str]:
    """Of each person to each batch; somebody who sends one after the other."""
    standing = {(str(row["user_id"]), str(row["batch_id"])): row for row in evidence.tables["annotations"]}
    last = {(answer["user_id"], answer["batch_id"]): answer for answer in _acknowledged(evidence)}
    unsure = {(line["user_id"], line["batch_id"]) for line in evidence.answers if line["event"] == "given_up"}
    for key, answer in last.items():
        row = standing.get(key)
        if key not in unsure and (row is None or row["client_id"] != answer["client_id"]):
            yield f"batch {key[1]}: the last answer was {answer['client_id']}, and {row and row['client_id']} stands"


def no_answer_came_from_nobody(evidence: Evidence) -> Iterator[str]:
    sent = {(line["user_id"], line["client_id"]) for line in evidence.answers if line["event"] == "sent"}
    for row in [*evidence.tables["annotations"], *evidence.tables["annotation_history"]]:
        if (str(row["user_id"]), row["client_id"]) not in sent:
            yield f"answer {row['client_id']} of user {row['user_id']} was never sent"


def an_answer_names_the_image_that_was_shown(evidence: Evidence) -> Iterator[str]:
    """Candidates are numbered once and for good: what was served under a number has it still."""
    images = by((row for row in evidence.tables["generations"] if row["candidate_index"] is not None), "batch_id")
    numbered = {
        str(batch): [str(row["id"]) for row in sorted(rows, key=lambda row: row["candidate_index"])]
        for batch, rows in images.items()
    }
    for line in evidence.served:
        if numbered.get(line["batch_id"]) != line["generation_ids"]:
            now = numbered.get(line["batch_id"])
            yield f"batch {line['batch_id']} was shown as {line['generation_ids']} and is {now}"
    for row in evidence.tables["annotations"]:
        for index, image in (("chosen_index", "chosen_generation_id"), ("rejected_index", "rejected_generation_id")):
            shown = numbered.get(str(row["batch_id"]), [])
            if row[index] is not None and (row[index] >= len(shown) or shown[row[index]] != str(row[image])):
                yield f"answer {row['id']} names image {row[image]} as candidate {row[index]} of {shown}"


def no_more_answers_count_than_asked_for(evidence: Evidence) -> Iterator[str]:
    overlap = {task["id"]: task["overlap"] for task in evidence.tables["tasks"]}
    counted = Counter(
        (row["batch_id"], row["task_id"])
        for row in evidence.tables["annotations"]
        if not row["surplus"] and row["kind"] != "skip"
    )
    for (batch, task), answers in counted.items():
        if answers > overlap[task]:
            yield f"batch {batch} has {answers} answers that count; {overlap[task]} are asked for"


def as_many_answers_count_as_there_are(evidence: Evidence) -> Iterator[str]:
    """Up to what was asked for; a spam that counts closes its batch, and what came later counts no more."""
    overlap = {task["id"]: task["overlap"] for task in evidence.tables["tasks"]}
    answers = by((row for row in evidence.tables["annotations"] if row["kind"] != "skip"), "batch_id")
    for batch, rows in answers.items():
        counting = [row for row in rows if not row["surplus"]]
        is_closed = any(row["kind"] == "spam" for row in counting)
        if len(counting) < min(len(rows), overlap[rows[0]["task_id"]]) and not is_closed:
            yield f"batch {batch} has {len(rows)} answers, and {len(counting)} of them count"


def _acknowledged(evidence: Evidence) -> list[Row]:
    """With what was sent under that client_id."""
    sent = {(line["user_id"], line["client_id"]): line for line in evidence.answers if line["event"] == "sent"}
    return [sent[line["user_id"], line["client_id"]] for line in evidence.answers if line["event"] == "acknowledged"]
