"""What the server refuses and what it lets pass, as facts measured on real ones have it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.graph import Graph, upstream
from comfylabel.workflows.reach import DEEPEST_CHAIN, check_links, check_shape
from comfylabel.workflows.server_rules import as_served, check_api_nodes, check_classes, check_inputs, output_nodes
from comfylabel.workflows.wiring import Wiring
from tests.support.object_info import OBJECT_INFO, node, text_to_image, with_inputs


def faults(graph: Graph) -> list[tuple[str, str, str | None]]:
    """(level, code, node) of everything but remarks."""
    served = as_served(graph, OBJECT_INFO)
    alive = upstream(served, output_nodes(served, OBJECT_INFO))
    lines = [
        *check_classes(graph, OBJECT_INFO),
        *check_inputs(Wiring(served, OBJECT_INFO)),
        *check_links(served, alive),
        *check_shape(served, alive),
    ]
    return sorted({(line.level, line.code, line.node) for line in lines}, key=repr)


def test_an_ordinary_graph_has_no_fault():
    assert faults(text_to_image()) == []


@pytest.mark.parametrize(
    ("node_id", "inputs"),
    [
        ("3", {"seed": "64"}),
        ("3", {"steps": 20.7}),
        ("3", {"steps": True}),
        ("3", {"cfg": "NaN"}),
        ("3", {"cfg": "7"}),
        ("5", {"width": 513}),
        ("5", {"batch_size": 4096}),
        ("6", {"text": None}),
        ("6", {"text": {"a": 1}}),
        ("6", {"text": 5}),
        ("6", {"text": {"__value__": ["two", "words"]}}),
        ("9", {"images": ["8", -1]}),
        ("9", {"filename_prefix": "../../x"}),
        ("9", {"audioUI": "", "option1": 3}),
        ("3", {"seed": 2**64 - 1}),
    ],
)
def test_what_the_server_lets_pass_passes(node_id: str, inputs: dict[str, Any]):
    assert faults(with_inputs(text_to_image(), node_id, **inputs)) == []


@pytest.mark.parametrize(
    ("node_id", "inputs", "code"),
    [
        ("3", {"seed": 2.0**64}, "value_too_big"),
        ("3", {"seed": -1}, "value_too_small"),
        ("3", {"steps": "many"}, "invalid_value"),
        ("3", {"steps": None}, "invalid_value"),
        ("3", {"steps": {"__value__": [1, 2]}}, "invalid_value"),
        ("3", {"steps": "NaN"}, "invalid_value"),
        ("3", {"cfg": 100.5}, "value_too_big"),
        ("3", {"sampler_name": "unheard_of"}, "value_not_in_list"),
        ("3", {"scheduler": "unheard_of"}, "value_not_in_list"),
        ("3", {"positive": ["4", 0]}, "link_type_mismatch"),
        ("3", {"positive": ["77", 0]}, "dangling_link"),
        ("3", {"positive": ["6", 1]}, "dangling_link"),
        ("3", {"positive": ["6", -2]}, "dangling_link"),
        ("3", {"positive": ["6", "0"]}, "dangling_link"),
        ("3", {"positive": [6, 0]}, "dangling_link"),
        ("3", {"positive": ["6", 0, 0]}, "bad_link"),
        ("3", {"positive": []}, "bad_link"),
        ("5", {"width": 8}, "value_too_small"),
        ("3", {"sampler_name": ["6", 0]}, "link_type_mismatch"),
    ],
)
def test_what_the_server_refuses_is_refused_at_its_node(node_id: str, inputs: dict[str, Any], code: str):
    assert faults(with_inputs(text_to_image(), node_id, **inputs)) == [("error", code, node_id)]


def test_a_missing_input_is_named():
    graph = text_to_image()
    del graph["3"]["inputs"]["positive"]
    assert faults(graph) == [("error", "required_input_missing", "3")]


def test_only_what_an_output_needs_is_looked_at():
    dead = {
        "20": node("KSampler", positive=["77", 0]),
        "21": node("ImageInvert", image=["22", 0]),
        "22": node("ImageInvert", image=["21", 0]),
    }
    assert faults(text_to_image() | dead) == []


def test_an_unknown_class_is_refused_wherever_it_stands():
    assert faults(text_to_image(n20=node("NobodysNode"))) == [("error", "unknown_node", "20")]
    nameless = {"inputs": {"UNKNOWN": 3}}
    assert faults(text_to_image(n20=nameless)) == [("error", "missing_class_type", "20")]


def test_a_link_in_an_input_that_nobody_declared_must_still_lead_somewhere():
    assert faults(with_inputs(text_to_image(), "9", extra=["77", 0])) == [("error", "dangling_link", "9")]
    assert faults(with_inputs(text_to_image(), "9", extra=["4", 0])) == []


def test_a_missing_model_is_the_workers_matter_and_a_missing_word_is_not():
    graph = with_inputs(text_to_image(), "4", ckpt_name="other.safetensors")
    assert faults(graph) == [("warning", "missing_model", "4")]
    clip = text_to_image(n4=node("CLIPLoader", clip_name="t5.safetensors", type="newer"))
    assert ("error", "value_not_in_list", "4") in faults(clip)
    assert ("warning", "missing_model", "4") in faults(clip)
    image = text_to_image(n8=node("LoadImage", image="mine [input]"))
    assert faults(image) == [("warning", "missing_input_file", "8")]


def test_any_type_links_and_alternatives_pass():
    graph = text_to_image(
        n20=node("PrimitiveBoolean", value=False),
        n21=node("ComfySwitchNode", switch=["20", 0], on_false=["8", 0], on_true=["8", 0]),
        n22=node("ResizeImage", input=["21", 0], resize_type="by factor", **{"resize_type.factor": 0.5}),
        n9=node("SaveImage", images=["22", 0], filename_prefix="x"),
    )
    assert faults(graph) == []


def test_inputs_that_unfold_are_checked_under_their_dotted_names():
    def resized(**inputs: Any) -> Graph:
        return text_to_image(
            n22=node("ResizeImage", input=["8", 0], **inputs),
            n9=node("SaveImage", images=["22", 0], filename_prefix="x"),
        )

    assert faults(resized(resize_type="by factor")) == [("error", "required_input_missing", "22")]
    assert faults(resized(resize_type="by factor", **{"resize_type.factor": 9.0})) == [("error", "value_too_big", "22")]
    assert faults(resized(resize_type="by factor", **{"resize_type.factor": 2, "resize_type.width": -5})) == []
    batch = node("BatchImages", **{"images.image0": ["8", 0]})
    saved = node("SaveImage", images=["22", 0], filename_prefix="x")
    assert faults(text_to_image(n22=batch, n9=saved)) == [("error", "required_input_missing", "22")]


def test_replaced_classes_stand_for_their_successors():
    graph = text_to_image(
        n20=node("T2IAdapterLoader", t2i_adapter_name="canny.safetensors"),
        n21=node("EmptyImage", width=64, height=64),
        n22=node(
            "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["20", 0], image=["21", 0]
        ),
    )
    graph = with_inputs(graph, "3", positive=["22", 0], negative=["22", 1])
    assert faults(graph) == []
    del graph["20"]["_meta"]
    assert faults(graph) == [("error", "unknown_node", "20")]


def test_paid_nodes_are_named_alive_or_dead():
    graph = text_to_image(n20=node("PaidImage", prompt="x"), n9=node("SaveImage", images=["20", 0], filename_prefix=""))
    (line,) = check_api_nodes(graph, OBJECT_INFO, {"20", "9"})
    assert (line.level, line.code, line.node) == ("error", "api_node", "20")
    (line,) = check_api_nodes(graph, OBJECT_INFO, {"9"})
    assert "can be deleted" in line.message


def chain(length: int) -> Graph:
    graph = {"0": node("EmptyImage", width=64, height=64)}
    for number in range(1, length - 1):
        graph[str(number)] = node("ImageInvert", image=[str(number - 1), 0])
    graph[str(length - 1)] = node("SaveImage", images=[str(length - 2), 0], filename_prefix="x")
    return graph


def test_the_servers_stack_ends_where_it_ends():
    assert faults(chain(DEEPEST_CHAIN)) == []
    assert faults(chain(DEEPEST_CHAIN + 1)) == [("error", "too_deep", None)]


def test_loops_are_named():
    graph = with_inputs(chain(5), "1", image=["3", 0])
    (line,) = check_shape(graph, upstream(graph, ["4"]))
    assert line.code == "loop"
    assert set(line.message.split(": ")[1].rstrip(".").split(" -> ")) == {"1", "2", "3"}
    assert faults(with_inputs(chain(3), "1", image=["1", 0])) == [("error", "loop", "1")]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_a_loop_is_found_exactly_where_one_is(edges):
    graph: Graph = {str(number): node("N") for number in range(10)}
    for position, (source, target) in enumerate(edges):
        graph[str(target)]["inputs"][f"i{position}"] = [str(source), 0]
    found = any(line.code == "loop" for line in check_shape(graph, set(graph)))
    loops = any(source == target or str(target) in upstream(graph, [str(source)]) for source, target in edges)
    assert found is loops
