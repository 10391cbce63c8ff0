"""Laws of reading a worker's answers."""

import json
import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.errors import MAX_MESSAGE
from comfylabel.comfy.plain_text import plain
from comfylabel.comfy.refusals import refusal
from comfylabel.comfy.schemas import (
    Device,
    Event,
    ExecutionError,
    HistoryEntry,
    OutputImage,
    QueueSnapshot,
    SystemStats,
    UnexpectedShape,
    is_out_of_memory,
)
from comfylabel.comfy.simulator.queue import SubmissionQueue

texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
# JSON that looks like ComfyUI's until one looks closely.
KEYS = st.sampled_from(
    [
        *("system", "comfyui_version", "devices", "queue_running", "queue_pending", "prompt", "outputs", "status"),
        *("images", "status_str", "messages", "filename", "type", "data", "prompt_id", "error", "node_errors"),
        *("errors", "extra_info", "timestamp", "nodes"),
    ]
)
likely = st.recursive(
    json_values
    | st.sampled_from(["success", "error", "execution_start", "execution_error", "execution_interrupted"])
    | st.just("value_not_in_list"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)

images = st.builds(OutputImage, st.text(min_size=1, max_size=12), texts, st.sampled_from(["output", "temp", "input"]))
words = texts.map(lambda text: plain(text, 100))  # others are cleaned while they are read
errors = st.builds(
    lambda node, kind, exception, message: ExecutionError(
        node, kind, exception, message, is_out_of_memory(exception, message)
    ),
    words,
    words,
    st.sampled_from(["ValueError", "torch.OutOfMemoryError", "torch.AcceleratorError"]),
    st.sampled_from(["broken", "CUDA error: out of memory", "it ran out of memory on your GPU."]),
)
outputs = st.dictionaries(texts, st.lists(images, min_size=1, max_size=4), max_size=3)
graphs = st.dictionaries(texts, json_values, max_size=3)
# Whole milliseconds of this century, or nothing.
moments = st.none() | st.integers(10**12, 4 * 10**12).map(lambda milliseconds: milliseconds / 1000)
rest = (graphs, moments, moments, st.frozensets(texts, max_size=3), st.floats(0, 1e9))
entries = st.one_of(
    st.builds(HistoryEntry, st.just("success"), outputs, st.none(), *rest),
    st.builds(HistoryEntry, st.just("interrupted"), outputs, st.none(), *rest),
    st.builds(HistoryEntry, st.just("error"), outputs, errors, *rest),
)


def as_comfyui_writes(entry: HistoryEntry) -> dict[str, Any]:
    messages: list[Any] = [
        ["execution_start", {"prompt_id": "x", **_timestamp(entry.began_at)}],
        ["execution_cached", {"nodes": list(entry.cached)}],
    ]
    ended = _timestamp(entry.ended_at)
    if entry.outcome == "success":
        messages.append(["execution_success", ended])
    elif entry.outcome == "interrupted":
        messages.append(["execution_interrupted", {"node_id": "1", **ended}])
    elif entry.error is not None:
        error = ended | {
            "node_id": entry.error.node_id,
            "node_type": entry.error.node_type,
            "exception_type": entry.error.exception_type,
            "exception_message": entry.error.message + "\n",
        }
        messages.append(["execution_error", error])
    written = {
        node: {"images": [{**_image(image), "id": "an asset"} for image in kept], "animated": [False]}
        for node, kept in entry.images.items()
    }
    return {
        "prompt": [entry.number or 0, "x", entry.graph, {}, list(entry.images)],
        "outputs": written | {"a text node": {"text": ["hello"]}, "an empty one": {}},
        "status": {
            "status_str": "success" if entry.outcome == "success" else "error",
            "completed": entry.outcome == "success",
            "messages": messages,
        },
        "meta": {},
    }


def _timestamp(moment: float | None) -> dict[str, int]:
    return {} if moment is None else {"timestamp": round(moment * 1000)}


def _image(image: OutputImage) -> dict[str, str]:
    return {"filename": image.filename, "subfolder": image.subfolder, "type": image.type}


@given(entries)
def test_an_entry_is_read_as_it_was_written(entry: HistoryEntry):
    read = HistoryEntry.from_json(as_comfyui_writes(entry))
    unread = {name: kept for name, kept in read.images.items() if name not in {"a text node", "an empty one"}}
    assert (read.outcome, read.error, read.cached) == (entry.outcome, entry.error, entry.cached)
    assert read.number == entry.number
    assert (read.began_at, read.ended_at, read.seconds) == (entry.began_at, entry.ended_at, entry.seconds)
    assert unread.items() <= entry.images.items()
    assert json.dumps(read.graph) == json.dumps(entry.graph)  # NaN is not equal to itself


@given(entries)
def test_a_worker_whose_clock_was_set_back_does_not_say_how_long_it_took(entry: HistoryEntry):
    assert entry.seconds is None or entry.seconds >= 0


@pytest.mark.parametrize("timestamp", [10**400, -1, float("nan"), float("inf"), "1795367047848", None, [1]])
@pytest.mark.parametrize("nodes", [None, "9", [9, {}]])
def test_strange_timing_is_no_reason_to_refuse_an_entry(timestamp: Any, nodes: Any):
    document = as_comfyui_writes(HistoryEntry("success"))
    document["prompt"][0] = timestamp
    document["status"]["messages"] = [
        ["execution_start", {"timestamp": timestamp}],
        ["execution_cached", {"nodes": nodes}],
        ["execution_success", {"timestamp": timestamp}],
        "gossip",
    ]
    entry = HistoryEntry.from_json(document)
    assert (entry.outcome, entry.began_at, entry.seconds, entry.cached) == ("success", None, None, frozenset())


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.uuids()), unique_by=lambda pair: pair[0], max_size=20))
def test_pending_ones_are_in_the_order_in_which_they_run(items: list[tuple[float, Any]]):
    queue = SubmissionQueue()
    for number, identity in items:
        queue.put((number, str(identity), {}, {}, []))
    listed = QueueSnapshot.from_json({"queue_running": [], "queue_pending": [list(item) for item in queue.pending]})
    assert listed.pending == tuple(queue.take()[1][1] for _ in items)


byte_counts = st.integers(0, 2**63 - 1)


@given(words, st.lists(st.builds(Device, words, words, byte_counts, byte_counts), max_size=3))
def test_system_stats_are_read_as_they_were_written(version: str, devices: list[Device]):
    listed = [
        {"name": d.name, "type": d.type, "index": 0, "vram_total": d.vram_total, "vram_free": d.vram_free}
        for d in devices
    ]
    document = {"system": {"os": "linux", "comfyui_version": version or None}, "devices": listed}
    stats = SystemStats.from_json(document)
    assert (stats.version, stats.devices) == (version or "unknown", tuple(devices))


STATS: dict[str, Any] = {
    "system": {"comfyui_version": "0.28.1", "python_version": "3.12", "pytorch_version": "2.13", "argv": ["main.py"]},
    "devices": [{"name": "cuda:0 RTX", "type": "cuda", "vram_total": 24, "vram_free": 20}],
}


@pytest.mark.parametrize(
    ("path", "value", "is_same"),
    [
        (("system", "comfyui_version"), "0.28.2", False),
        (("system", "python_version"), "3.13", False),
        (("system", "pytorch_version"), "2.14", False),
        (("system", "argv"), ["main.py", "--disable-all-custom-nodes"], False),
        (("devices", 0, "name"), "cuda:1 RTX", False),
        (("devices", 0, "vram_free"), 1, True),
        (("system", "ram_free"), 1, True),
    ],
    ids=str,
)
def test_a_fingerprint_changes_with_the_server_and_not_with_what_it_does(path, value, is_same):
    changed = json.loads(json.dumps(STATS))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    same = SystemStats.from_json(changed).fingerprint == SystemStats.from_json(STATS).fingerprint
    assert same is is_same


@given(likely)
def test_strange_answers_are_named_and_never_a_surprise(document: Any):
    for kind in (SystemStats, QueueSnapshot, OutputImage, HistoryEntry, Event, ExecutionError):
        with suppress(UnexpectedShape):
            kind.from_json(document)


hostile = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\x00", "\ud800", "\x1b[31m", "x" * 10_000, "9" * 5000]
)


@given(hostile, st.integers(10, 300))
def test_what_a_worker_says_fits_a_row_and_a_log(text: str, longest: int):
    """Law: PostgreSQL keeps it, a terminal only shows it, and it has an end."""
    cleaned = plain(text, longest)

    assert len(cleaned) <= longest
    assert cleaned.encode().decode() == cleaned
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in cleaned.replace("\n", ""))
    assert plain(cleaned, longest) == cleaned


@given(hostile)
def test_no_text_of_a_worker_is_kept_as_it_came(text: str):
    stats = SystemStats.from_json({"system": {"comfyui_version": text}})
    error = ExecutionError.from_json(
        {"node_id": text, "node_type": text, "exception_type": text, "exception_message": text}
    )
    refused = refusal(400, {"error": {"message": text}, "node_errors": {text: {"errors": [{"message": text}]}}})

    assert refused is not None
    assert isinstance(stats.version_numbers, tuple)
    for kept in (stats.version, str(error), error.message, refused.message):
        assert "\x00" not in kept
        assert len(kept.encode()) < 20_000


def test_numbers_and_names_that_no_program_can_use_are_refused():
    with pytest.raises(UnexpectedShape, match="300 digits"):
        QueueSnapshot.from_json({"queue_running": [[10**400, "x"]], "queue_pending": []})
    with pytest.raises(UnexpectedShape, match="half of a character"):
        OutputImage.from_json({"filename": "\ud800.png"})


@given(st.sampled_from([200, 400]), likely)
def test_every_answer_to_a_submission_is_a_yes_or_a_reasoned_no(status: int, document: Any):
    refused = refusal(status, document)
    if refused is None:
        assert status == 200
        assert not (isinstance(document, dict) and document.get("node_errors"))
    else:
        assert 0 < len(refused.message) <= MAX_MESSAGE
        assert refused.reason in {"missing_node", "missing_model", "validation", "bad_id"}


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("0.3.75", (0, 3, 75)),
        ("v0.28.1", (0, 28, 1)),
        ("0.3.75-dev+g1", (0, 3, 75)),
        ("1", (1,)),
        ("unknown", ()),
        ("", ()),
    ],
)
def test_version_numbers(version: str, numbers: tuple[int, ...]):
    assert SystemStats(version).version_numbers == numbers


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_versions_compare_by_number(one: list[int], other: list[int]):
    def read(numbers: list[int]) -> tuple[int, ...]:
        return SystemStats(".".join(map(str, numbers))).version_numbers

    assert (read(one) < read(other)) == (one < other)


@pytest.mark.parametrize(
    ("exception_type", "message", "expected"),
    [
        ("torch.OutOfMemoryError", "", True),
        ("torch.cuda.OutOfMemoryError", "", True),
        ("torch.AcceleratorError", "CUDA error: out of memory", True),
        ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered", False),
        ("RuntimeError", "CUDA error: out of memory\nCUDA kernel errors might be reported late", True),
        ("Anything", "x\nThis error means you ran out of memory on your GPU.\n\nTIPS: ...", True),
        ("ValueError", "the list ran out of items", False),
        ("MemoryError", "", False),
    ],
)
def test_out_of_memory(exception_type: str, message: str, expected: bool):
    assert is_out_of_memory(exception_type, message) is expected


def test_an_error_in_one_line():
    error = ExecutionError("3", "KSampler", "ValueError", "broken\nand more", out_of_memory=False)
    assert str(error) == "ValueError on node 3 (KSampler): broken"


def node_error(kind: str, **extra: Any) -> dict[str, Any]:
    return {"type": kind, "message": kind, "details": "", "extra_info": extra}


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([node_error("value_not_in_list", input_name="ckpt_name", received_value="a.safetensors")], "missing_model"),
        ([node_error("value_not_in_list", input_name="lora_name", received_value="no suffix")], "missing_model"),
        ([node_error("value_not_in_list", input_name="clip_name2", received_value="x")], "missing_model"),
        ([node_error("value_not_in_list", input_name="sampler_name", received_value="newest")], "validation"),
        ([node_error("value_not_in_list", input_name="type", received_value="flux9")], "validation"),
        (
            [
                node_error("value_not_in_list", input_name="vae_name", received_value="a.pt"),
                node_error("value_bigger_than_max", input_name="steps"),
            ],
            "validation",
        ),
        (
            [node_error("custom_validation_failed") | {"details": "image - Invalid image file: a.png"}],
            "missing_model",
        ),
        ([node_error("custom_validation_failed") | {"details": "no"}], "validation"),
    ],
)
def test_whose_fault_a_refusal_is(errors: list[Any], reason: str):
    document = {"error": {"type": "prompt_outputs_failed_validation"}, "node_errors": {"4": {"errors": errors}}}
    refused = refusal(400, document)
    assert refused is not None
    assert refused.reason == reason


def test_a_frame_without_a_prompt_id():
    assert Event.from_json({"type": "status", "data": {"status": {}}}) == Event("status", None)


def test_only_the_last_executing_names_no_node():
    last, other = ({"type": "executing", "data": {"node": node, "prompt_id": "x"}} for node in (None, "3"))
    assert (Event.from_json(last).is_over, Event.from_json(other).is_over) == (True, False)
    assert not Event.from_json({"type": "executing", "data": {"prompt_id": "x"}}).is_over
