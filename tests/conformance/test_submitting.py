"""POST /prompt: what it takes, what it refuses, and in which words."""

import json
import uuid
from typing import Any

import pytest

from tests.support.served import Served, nonce
from tests.support.simulator import model_free, node, slow, text_to_image

TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"


async def errors_of(server: Served, graph: Any, at: str) -> list[dict[str, Any]]:
    """The errors of one node of a graph that is refused as invalid."""
    answer = await server.prompt(graph)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "prompt_outputs_failed_validation"
    errors: list[dict[str, Any]] = answer.json["node_errors"][at]["errors"]
    return errors


async def test_a_good_graph_is_queued_under_the_id_that_was_asked_for(server: Served):
    wanted = str(uuid.uuid4())
    answer = await server.prompt(model_free(nonce()), prompt_id=wanted)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json.keys() == {"prompt_id", "number", "node_errors"}
    assert answer.json["prompt_id"] == wanted
    assert answer.json["node_errors"] == {}


async def test_without_an_id_the_server_chooses_a_uuid(server: Served):
    chosen = (await server.prompt(model_free(nonce()))).json["prompt_id"]
    assert str(uuid.UUID(chosen)) == chosen


async def test_any_text_is_an_id(server: Served):
    wanted = f"my own id {nonce()}"
    assert (await server.prompt(model_free(nonce()), prompt_id=wanted)).json["prompt_id"] == wanted


async def test_refused_graphs_take_a_number_too(server: Served):
    first = (await server.prompt(model_free(nonce()))).json["number"]
    assert (await server.prompt({})).status == 400
    assert (await server.prompt(model_free(nonce()))).json["number"] == first + 2


@pytest.mark.parametrize("body", ['{"prompt": ', "\ufeff{}", ""], ids=["half", "bom", "empty"])
async def test_what_is_not_json_is_trouble(server: Served, body: str):
    answer = await server.ask("POST", "/prompt", data=body)
    assert (answer.status, answer.body) == (500, TROUBLE)


@pytest.mark.parametrize("graph", ["x", None, {"a": 1}, {"9": None}], ids=str)
async def test_what_is_no_graph_is_trouble(server: Served, graph: Any):
    answer = await server.prompt(graph)
    assert (answer.status, answer.body) == (500, TROUBLE)


async def test_the_ui_format_is_trouble(server: Served):
    drawn = {"last_node_id": 9, "nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}
    answer = await server.prompt(drawn)
    assert (answer.status, answer.body) == (500, TROUBLE)


async def test_a_list_is_taken_for_an_empty_graph(server: Served):
    assert (await server.prompt([])).json["error"]["type"] == "prompt_no_outputs"


async def test_a_comment_among_the_nodes(server: Served):
    answer = await server.prompt(model_free() | {"_comment": "hello"})
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_prompt")


@pytest.mark.parametrize(
    ("broken", "exception"),
    [({"class_type": "SaveImage", "inputs": None}, "TypeError"), ({"class_type": "SaveImage"}, "KeyError")],
    ids=["null", "none"],
)
async def test_a_node_without_inputs(server: Served, broken: Any, exception: str):
    (error,) = await errors_of(server, model_free() | {"9": broken}, "9")
    assert error["type"] == "exception_during_validation"
    assert error["extra_info"]["exception_type"] == exception


@pytest.mark.parametrize("body", [{}, [1]], ids=str)
async def test_no_prompt(server: Served, body: Any):
    answer = await server.post("/prompt", body)
    assert answer.status == 400
    text = "No prompt provided"
    error = {"type": "no_prompt", "message": text, "details": text, "extra_info": {}}
    assert answer.json == {"error": error, "node_errors": {}}


@pytest.mark.parametrize("graph", [{}, {"1": model_free()["1"]}], ids=["empty", "no output node"])
async def test_no_outputs(server: Served, graph: Any):
    answer = await server.prompt(graph)
    assert answer.status == 400
    error = {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}}
    assert answer.json == {"error": error, "node_errors": {}}


async def test_an_unknown_class_anywhere(server: Served):
    answer = await server.prompt(model_free() | {"7": node("NoSuchNode")})
    assert answer.status == 400
    message = "Cannot execute because node NoSuchNode does not exist."
    error = {"type": "invalid_prompt", "message": message, "details": "Node ID '#7'", "extra_info": {}}
    assert answer.json == {"error": error, "node_errors": {}}


async def test_a_node_without_a_class(server: Served):
    answer = await server.prompt(model_free() | {"7": {"inputs": {}}})
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_prompt"
    assert answer.json["error"]["details"] == "Node ID '#7'"


async def test_a_missing_input(server: Served):
    graph = model_free()
    del graph["1"]["inputs"]["width"]
    answer = await server.prompt(graph)
    error = {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "width",
        "extra_info": {"input_name": "width"},
    }
    report = {"errors": [error], "dependent_outputs": ["9"], "class_type": "EmptyImage"}
    assert answer.json["node_errors"] == {"1": report}


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (999999, "value_bigger_than_max", "Value 999999 bigger than max of 16384"),
        (0, "value_smaller_than_min", "Value 0 smaller than min of 1"),
        ("abc", "invalid_input_type", "Failed to convert an input value to a INT value"),
    ],
    ids=["above", "below", "text"],
)
async def test_a_value_out_of_range(server: Served, value: Any, kind: str, message: str):
    graph = model_free()
    graph["1"]["inputs"]["width"] = value
    (error,) = await errors_of(server, graph, "1")
    assert (error["type"], error["message"]) == (kind, message)
    assert error["extra_info"]["received_value"] == value
    assert error["extra_info"]["input_name"] == "width"
    assert error["extra_info"]["input_config"][0] == "INT"


async def test_several_wrong_values_are_all_said(server: Served):
    graph = model_free()
    graph["1"]["inputs"] |= {"width": 0, "height": "abc", "batch_size": 0}
    kinds = [error["type"] for error in await errors_of(server, graph, "1")]
    assert sorted(kinds) == ["invalid_input_type", "value_smaller_than_min", "value_smaller_than_min"]


async def test_a_model_that_is_not_there(server: Served):
    (error,) = await errors_of(server, text_to_image(checkpoint="nope.safetensors"), "4")
    assert (error["type"], error["message"]) == ("value_not_in_list", "Value not in list")
    assert error["details"].startswith("ckpt_name: 'nope.safetensors' not in [")
    assert error["extra_info"]["received_value"] == "nope.safetensors"
    assert "tiny-random-fp16.safetensors" in error["extra_info"]["input_config"][0]


async def test_long_lists_are_not_repeated(server: Served):
    graph = text_to_image()
    graph["3"]["inputs"]["sampler_name"] = "nosuch"
    (error,) = await errors_of(server, graph, "3")
    assert error["details"].startswith("sampler_name: 'nosuch' not in (list of length ")
    assert error["extra_info"]["input_config"] is None


async def test_a_link_of_the_wrong_type(server: Served):
    graph = model_free() | {"2": text_to_image()["5"]}
    graph["9"]["inputs"]["images"] = ["2", 0]
    (error,) = await errors_of(server, graph, "9")
    assert error["type"] == "return_type_mismatch"
    assert error["details"] == "images, received_type(LATENT) mismatch input_type(IMAGE)"
    assert error["extra_info"]["received_type"] == "LATENT"
    assert error["extra_info"]["linked_node"] == ["2", 0]


@pytest.mark.parametrize(
    ("link", "exception", "details"),
    [
        (["77", 0], "KeyError", "'77'"),
        ([1, 0], "KeyError", "1"),
        (["1", 5], "IndexError", "tuple index out of range"),
    ],
    ids=["no such node", "number for an id", "no such slot"],
)
async def test_a_link_to_nowhere(server: Served, link: list[Any], exception: str, details: str):
    graph = model_free()
    graph["9"]["inputs"]["images"] = link
    (error,) = await errors_of(server, graph, "9")
    assert error["type"] == "exception_during_validation"
    assert error["details"] == details
    assert error["extra_info"]["exception_type"] == exception


async def test_a_dangling_link_is_reported_with_the_name_of_the_input_downstream(server: Served):
    graph = text_to_image()
    graph["3"]["inputs"]["latent_image"] = ["77", 0]
    (error,) = await errors_of(server, graph, "3")
    assert error["type"] == "exception_during_inner_validation"
    assert error["extra_info"]["input_name"] == "samples"
    assert error["extra_info"]["linked_node"] == ["3", 0]


async def test_a_link_of_three(server: Served):
    graph = model_free()
    graph["9"]["inputs"]["images"] = ["1", 0, 0]
    (error,) = await errors_of(server, graph, "9")
    assert error["type"] == "bad_linked_input"
    assert error["extra_info"]["received_value"] == ["1", 0, 0]


async def test_a_loop_is_refused_without_saying_where(server: Served):
    graph = model_free() | {"5": node("ImageInvert", image=["6", 0]), "6": node("ImageInvert", image=["5", 0])}
    graph["9"]["inputs"]["images"] = ["6", 0]
    answer = await server.prompt(graph)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "prompt_outputs_failed_validation"
    assert answer.json["node_errors"] == {}


async def test_a_picture_that_was_not_uploaded(server: Served):
    graph = model_free() | {"5": node("LoadImage", image="nope.png")}
    graph["9"]["inputs"]["images"] = ["5", 0]
    (error,) = await errors_of(server, graph, "5")
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == "image - Invalid image file: nope.png"


async def test_of_two_branches_the_valid_one_runs(server: Served):
    graph = model_free(nonce()) | {
        "5": node("EmptyImage", width=0, height=64, batch_size=1, color=0),
        "10": node("SaveImage", images=["5", 0], filename_prefix="tests/bad"),
    }
    answer = await server.prompt(graph)
    assert answer.status == 200
    assert answer.json["node_errors"]["5"]["dependent_outputs"] == ["10"]
    entry = await server.entry(answer.json["prompt_id"])
    assert entry["status"]["status_str"] == "success"
    assert list(entry["outputs"]) == ["9"]


async def test_what_nothing_needs_is_not_checked(server: Served):
    loose = node("EmptyImage", width=0, height=["77", 0])
    answer = await server.prompt(model_free(nonce()) | {"5": loose})
    assert (answer.status, answer.json["node_errors"]) == (200, {})


async def test_values_are_coerced_and_the_history_shows_it(server: Served):
    graph = model_free(nonce())
    graph["1"]["inputs"] |= {"width": "64", "height": 64.9, "bogus": 1}
    entry = await server.run(graph)
    kept = entry["prompt"][2]["1"]["inputs"]
    assert (kept["width"], kept["height"], kept["bogus"]) == (64, 64, 1)
    assert isinstance(kept["width"], int)


async def test_text_of_null_becomes_text(server: Served):
    graph = {"1": node("ProbeTextOut", text=None, nonce=nonce())}
    entry = await server.run(graph)
    assert entry["outputs"]["1"]["text"] == ["None"]


async def test_a_step_is_never_checked(server: Served):
    graph = text_to_image(seed=nonce(), width=67)
    assert (await server.prompt(graph)).status == 200


async def test_the_content_type_does_not_matter(server: Served):
    body = json.dumps({"prompt": model_free(nonce())})
    answer = await server.ask("POST", "/prompt", data=body, headers={"Content-Type": "text/plain"})
    assert answer.status == 200


async def test_only_the_targets_run(server: Served):
    graph = model_free(nonce()) | {"10": node("PreviewImage", images=["1", 0])}
    entry = await server.run(graph, partial_execution_targets=["10"])
    assert list(entry["outputs"]) == ["10"]
    assert entry["prompt"][4] == ["10"]


async def test_extra_data_is_kept_but_for_secrets(server: Served):
    extra = {"comfylabel": {"row": 17}, "api_key_comfy_org": "SECRET", "auth_token_comfy_org": "SECRET"}
    entry = await server.run(model_free(nonce()), client_id="somebody", extra_data=extra)
    kept = entry["prompt"][3]
    assert kept["comfylabel"] == {"row": 17}
    assert kept["client_id"] == "somebody"
    assert isinstance(kept["create_time"], int)
    assert kept.keys() == {"comfylabel", "client_id", "create_time"}


async def test_a_repeated_id_runs_again_and_the_history_keeps_the_last(server: Served):
    identity = await server.submit(model_free(nonce(), prefix="tests/first"))
    await server.entry(identity)
    assert await server.submit(model_free(nonce(), prefix="tests/second"), prompt_id=identity) == identity
    await server.idle()
    (image,) = (await server.entry(identity))["outputs"]["9"]["images"]
    assert image["filename"].startswith("second")


async def test_the_same_id_and_number_is_trouble_and_queued_all_the_same(server: Served):
    first = await server.submit(slow(30, nonce=nonce()))
    await server.running(first)
    identity = str(uuid.uuid4())
    await server.submit(model_free(nonce()), prompt_id=identity, number=7)
    answer = await server.prompt(model_free(nonce()), prompt_id=identity, number=7)
    assert (answer.status, answer.body) == (500, TROUBLE)
    pending = [item[1] for item in (await server.get("/queue")).json["queue_pending"]]
    assert pending == [identity, identity]
    await server.post("/interrupt", {"prompt_id": first})
    await server.idle()


def chain(length: int) -> dict[str, Any]:
    """So many nodes in a row before the output node."""
    graph = {"0": model_free(nonce())["1"]}
    for place in range(1, length):
        graph[str(place)] = node("ImageInvert", image=[str(place - 1), 0])
    return graph | {"out": node("PreviewImage", images=[str(length - 1), 0])}


async def test_nine_hundred_nodes_in_a_row(server: Served):
    assert (await server.prompt(chain(900))).status == 200
    await server.idle()


async def test_too_many_nodes_in_a_row_end_the_recursion(server: Served):
    answer = await server.prompt(chain(1200))
    assert answer.status == 400
    (report,) = answer.json["node_errors"].values()
    assert report["errors"][0]["type"] == "exception_during_inner_validation"
    assert report["errors"][0]["extra_info"]["exception_type"] == "RecursionError"


async def test_a_wrong_link_is_not_followed(server: Served):
    """What lies behind a link of the wrong type is not looked at."""
    graph = model_free() | {"2": node("EmptyLatentImage", width=0, height=64, batch_size=1)}
    graph["9"]["inputs"]["images"] = ["2", 0]
    answer = await server.prompt(graph)
    assert list(answer.json["node_errors"]) == ["9"]
