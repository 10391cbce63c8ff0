"""Why a worker said no to POST /prompt: from status and JSON to the error that says what may be done next."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from comfylabel.comfy.errors import RefusalReason, SubmissionRefused

# A file that this worker lacks, as opposed to an option that its release does not know.
MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx|pkl)$", re.IGNORECASE)
MODEL_INPUT = re.compile(
    r"^(ckpt|unet|lora|vae|clip|clip_vision|control_net|style_model|gligen|hypernetwork|model)_(name|path)\d*$"
)


def refusal(status: int, document: Any) -> SubmissionRefused | None:
    """None when the whole graph was taken; a 200 with `node_errors` says that part of it was skipped."""
    answer = document if isinstance(document, dict) else {}
    node_errors = answer.get("node_errors")
    if status == HTTPStatus.OK and not node_errors:
        return None
    head = answer.get("error")
    head = head if isinstance(head, dict) else {}
    errors = list(_errors(node_errors))
    sentences = [_sentence(*error) for error in errors] or [_head_sentence(head)]
    return SubmissionRefused(" ".join(sentences), reason=_reason(head, errors))


def _reason(head: dict[str, Any], errors: list[tuple[str, str, dict[str, Any]]]) -> RefusalReason:
    kind = head.get("type")
    # Before v0.12.0 an unknown class was an `invalid_prompt`, and nothing else was.
    if kind in {"missing_node_type", "invalid_prompt"}:
        return "missing_node"
    if kind == "invalid_prompt_id":
        return "bad_id"
    if errors and all(_is_missing_file(error) for _, _, error in errors):
        return "missing_model"
    return "validation"


def _is_missing_file(error: dict[str, Any]) -> bool:
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    if error.get("type") == "value_not_in_list":
        value, name = str(extra.get("received_value", "")), str(extra.get("input_name", ""))
        return bool(MODEL_FILE.search(value) or MODEL_INPUT.match(name))
    # A picture that LoadImage should read is missing from this worker's input folder.
    return error.get("type") == "custom_validation_failed" and "Invalid image file" in str(error.get("details"))


def _errors(node_errors: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for node, report in node_errors.items() if isinstance(node_errors, dict) else ():
        if isinstance(report, dict) and isinstance(report.get("errors"), list):
            for error in report["errors"]:
                if isinstance(error, dict):
                    yield str(node), str(report.get("class_type", "")), error


def _sentence(node: str, class_type: str, error: dict[str, Any]) -> str:
    message, details = str(error.get("message", "")).rstrip("."), str(error.get("details", "")).strip()
    if error.get("type") == "value_not_in_list" and _is_missing_file(error):
        missing = error.get("extra_info", {}).get("received_value")
        return f"Node {node} ({class_type}): {missing} is not on this worker."
    return f"Node {node} ({class_type}): {message}{f' ({details})' if details else ''}."


def _head_sentence(head: dict[str, Any]) -> str:
    message = str(head.get("message") or "The worker refused the graph").rstrip(".")
    details = str(head.get("details") or "")
    return f"{message}{f' ({details})' if details and details != message else ''}."
