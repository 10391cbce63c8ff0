"""The verdict as a whole: status, seed mode, limits, refusals with their codes."""

import json
from dataclasses import replace
from typing import Any

import pytest

from comfylabel.comfy.graph import Graph
from comfylabel.errors import InvalidField, InvalidInput
from comfylabel.workflows.eligibility import missing_on
from comfylabel.workflows.metadata import parse_metadata
from comfylabel.workflows.schemas import Ceilings
from comfylabel.workflows.service import best_verdict
from comfylabel.workflows.validation import MAX_NODES, Given, Verdict, validate
from tests.support.object_info import OBJECT_INFO, node, text_to_image, with_inputs

CEILINGS = Ceilings(max_batch_size=16, allow_controlnet=True, allow_dynamic_resolution=True, max_pixels=2048 * 2048)
NO_CONTROLNET = replace(CEILINGS, allow_controlnet=False)
ONE_SIZE = replace(CEILINGS, allow_dynamic_resolution=False)


def given(**metadata: Any) -> Given:
    parsed = parse_metadata(json.dumps({"name": "summer"} | metadata))
    return Given(parsed.bindings, parsed, parsed.model)


def judge(graph: Graph, *, asked: bool = True, ceilings: Ceilings = CEILINGS, **metadata: Any) -> Verdict:
    return validate(graph, OBJECT_INFO if asked else None, given(**metadata), ceilings)


def refusal(graph: Graph, **arguments: Any) -> tuple[str, list[str]]:
    """(code, codes of the error lines)"""
    refused = judge(graph, **arguments).refusal
    assert refused is not None
    assert refused.status == 422
    return refused.code, [line.code for line in refused.data["report"] if line.level == "error"]


def with_behavior(behavior: object = "random") -> Graph:
    graph = text_to_image(n10=node("LatentBatchSeedBehavior", samples=["5", 0], seed_behavior=behavior))
    return with_inputs(graph, "3", latent_image=["10", 0])


def test_a_good_graph_is_valid_and_what_was_found_is_said():
    verdict = judge(text_to_image())
    assert (verdict.status, verdict.refusal, verdict.model) == ("valid", None, "sdxl")
    assert verdict.proposed == ("prompt", "seed", "width", "height", "batch_size", "images")
    assert [line.message for line in verdict.report if line.code == "binding_found"][:2] == [
        "prompt is bound to 6.text.", "seed is bound to 3.seed.",
    ]  # fmt: skip
    assert verdict.max_batch_size == 16


def test_without_a_worker_it_is_unverified():
    verdict = judge(text_to_image(), asked=False)
    assert (verdict.status, verdict.refusal) == ("unverified", None)
    assert verdict.bindings == judge(text_to_image()).bindings
    looped = with_inputs(text_to_image(), "8", samples=["8", 0])
    assert refusal(looped, asked=False) == ("workflow_invalid", ["loop"])
    dangling = with_inputs(text_to_image(), "8", samples=["77", 0])
    assert refusal(dangling, asked=False) == ("workflow_invalid", ["dangling_link"])


def test_a_missing_model_and_an_old_node_are_warnings():
    graph = with_inputs(text_to_image(n20=node("OldNode", image=["8", 0])), "9", images=["20", 0])
    graph = with_inputs(graph, "4", ckpt_name="other.safetensors")
    verdict = judge(graph)
    assert (verdict.status, verdict.refusal) == ("warnings", None)
    assert [(line.code, line.node) for line in verdict.report if line.level == "warning"] == [
        ("missing_model", "4"), ("legacy_node", "20"),
    ]  # fmt: skip


def test_what_no_output_needs_is_remarked_and_nothing_more():
    verdict = judge(text_to_image(n20=node("KSampler", positive=["77", 0])))
    assert verdict.status == "valid"
    assert [line.node for line in verdict.report if line.code == "dead_node"] == ["20"]


@pytest.mark.parametrize(
    ("graph", "codes"),
    [
        (text_to_image(n20=node("PaidImage", prompt="x")), ["api_node"]),
        (text_to_image(n20=node("NobodysNode")), ["unknown_node"]),
        (with_inputs(text_to_image(), "8", samples=["8", 0]), ["link_type_mismatch", "loop"]),
        (with_inputs(text_to_image(), "8", samples=["77", 0]), ["dangling_link"]),
        ({"1": node("EmptyImage", width=64, height=64)}, ["no_output_node"]),
        ({str(number): node("EmptyImage") for number in range(MAX_NODES + 1)}, ["too_many_nodes"]),
        (with_inputs(text_to_image(), "5", batch_size=17), ["batch_over_limit"]),
        (with_inputs(text_to_image(), "5", width=4096, height=4096), ["resolution_over_limit"]),
    ],
)
def test_what_cannot_run_or_may_not_is_invalid(graph: Graph, codes: list[str]):
    assert refusal(graph) == ("workflow_invalid", codes)


def test_paid_nodes_are_listed():
    refused = judge(text_to_image(n20=node("PaidImage", prompt="x"))).refusal
    assert refused is not None
    assert refused.data["forbidden_nodes"] == ["20"]


@pytest.mark.parametrize(
    ("graph", "code"),
    [
        (text_to_image(n9=node("SaveImageWebsocket", images=["8", 0])), "no_image_output"),
        (text_to_image(n9=node("PreviewAny", source="text")), "no_image_output"),
        (text_to_image(n8=node("EmptyImage", width=64, height=64)), "no_seed"),
        (with_inputs(text_to_image(), "3", seed=["7", 0]), "workflow_invalid"),
        (
            with_inputs(text_to_image(n20=node("ConditioningZeroOut", conditioning=["6", 0])), "3", positive=["20", 0]),
            "no_prompt",
        ),
    ],
)
def test_what_the_server_would_run_and_we_cannot_steer_has_its_own_code(graph: Graph, code: str):
    assert refusal(graph)[0] == code


def test_a_preview_of_a_mask_is_kept_only_when_asked_for():
    graph = text_to_image(n20=node("LoadImage", image="in.png"), n21=node("MaskPreview", mask=["20", 1]))
    assert judge(graph).bindings.images == ("9",)
    assert judge(graph, bindings={"images": ["21", "9"]}).bindings.images == ("21", "9")


def test_a_graph_without_models_is_steered_by_what_the_upload_names():
    graph = {
        "1": node("EmptyImage", width=64, height=64),
        "2": node("PrimitiveStringMultiline", value=""),
        "3": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
    named = {"prompt": [{"node": "2", "input": "value"}], "seed": [{"node": "1", "input": "width"}]}
    verdict = judge(graph, bindings=named)
    assert (verdict.refusal, verdict.bindings.images, verdict.proposed) == (None, ("3",), ("images",))
    assert verdict.model == "unknown"


def test_more_than_one_answer_is_asked_for():
    graph = text_to_image(
        n15=node("CLIPTextEncode", text="by night", clip=["4", 1]),
        n16=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["15", 0]),
    )
    graph = with_inputs(graph, "3", positive=["16", 0])
    refused = judge(graph).refusal
    assert refused is not None
    assert (refused.status, refused.code) == (422, "binding_ambiguous")
    assert refused.data["choices"] == {
        "prompt": [
            {"node": "6", "input": "text", "text": "a cat"}, {"node": "15", "input": "text", "text": "by night"},
        ]
    }  # fmt: skip
    verdict = judge(graph, bindings={"prompt": [{"node": "15", "input": "text"}]})
    assert verdict.refusal is None
    assert verdict.bindings.to_json()["prompt"] == [{"node": "15", "input": "text"}]
    assert "prompt" not in verdict.proposed


# --- seed mode


@pytest.mark.parametrize(
    ("graph", "mode", "line"),
    [
        (with_behavior(), "native", None),
        (with_behavior("fixed"), "loop", "fixed_seed_behavior"),
        (text_to_image(), "loop", None),
        (
            with_inputs(text_to_image(n10=node("LatentBatchSeedBehavior", samples=["5", 0], seed_behavior="random"),
                                      n11=node("VAEDecode", samples=["10", 0], vae=["4", 2])), "9", images=["8", 0]),
            "loop",
            None,
        ),
    ],
)  # fmt: skip
def test_native_needs_the_node_on_the_latents_way_and_random(graph: Graph, mode: str, line: str | None):
    verdict = judge(graph)
    assert (verdict.seed_mode, verdict.refusal) == (mode, None)
    assert [each.code for each in verdict.report if each.level == "warning"] == ([line] if line else [])


def test_native_needs_a_batch_size_that_can_be_set():
    verdict = judge(with_behavior(), bindings={"batch_size": []})
    assert verdict.seed_mode == "loop"
    assert "batch_size_not_bound" in {line.code for line in verdict.report}


# --- what the upload says


@pytest.mark.parametrize(
    ("bindings", "path"),
    [
        ({"prompt": [{"node": "66", "input": "text"}]}, "bindings.prompt[0].node"),
        ({"prompt": [{"node": "6", "input": "words"}]}, "bindings.prompt[0].input"),
        ({"prompt": [{"node": "6", "input": "text"}, {"node": "5", "input": "width"}]}, "bindings.prompt[1].input"),
        ({"prompt": [{"node": "6", "input": "clip"}]}, "bindings.prompt[0].input"),
        ({"seed": [{"node": "6", "input": "text"}]}, "bindings.seed[0].input"),
        ({"seed": [{"node": "3", "input": "cfg"}]}, "bindings.seed[0].input"),
        ({"seed": [{"node": "3", "input": "sampler_name"}]}, "bindings.seed[0].input"),
        ({"seed": [{"node": "3", "input": "steps"}], "width": [{"node": "3", "input": "steps"}]}, "bindings.width[0]"),
        ({"images": ["77"]}, "bindings.images[0]"),
        ({"images": ["9", "8"]}, "bindings.images[1]"),
    ],
)
def test_a_binding_must_be_there_and_take_what_is_put_into_it(bindings: dict[str, Any], path: str):
    with pytest.raises(InvalidField) as refused:
        judge(text_to_image(), bindings=bindings)
    assert refused.value.data["errors"][0]["path"] == path


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ("{", "metadata"),
        ("[]", "metadata"),
        ("{}", "name"),
        ('{"name": " "}', "name"),
        ('{"name": "a\\u0000"}', "name"),
        ('{"name": "a", "color": 1}', "color"),
        ('{"name": "a", "version": 3}', "version"),
        ('{"name": "a", "max_batch_size": 0}', "max_batch_size"),
        ('{"name": "a", "max_batch_size": "4"}', "max_batch_size"),
        ('{"name": "a", "allow_controlnet": "no"}', "allow_controlnet"),
        ('{"name": "a", "bindings": {"prompt": [{"node": 6, "input": "text"}]}}', "bindings.prompt[0].node"),
        ('{"name": "a", "bindings": {"prompt": [{"node": "6"}]}}', "bindings.prompt[0].input"),
        ('{"name": "a", "bindings": {"negative": []}}', "bindings.negative"),
    ],
)
def test_metadata_is_refused_at_its_path(metadata: str, path: str):
    with pytest.raises(InvalidInput) as refused:
        parse_metadata(metadata)
    assert refused.value.code == "invalid_field"
    assert refused.value.data["errors"][0]["path"] == path


@pytest.mark.parametrize(
    ("ceilings", "metadata", "path"),
    [
        (CEILINGS, {"max_batch_size": 17}, "max_batch_size"),
        (CEILINGS, {"max_pixels": 2048 * 2048 + 1}, "max_pixels"),
        (NO_CONTROLNET, {"allow_controlnet": True}, "allow_controlnet"),
        (ONE_SIZE, {"allow_dynamic_resolution": True}, "allow_dynamic_resolution"),
    ],
)
def test_metadata_may_only_lower_a_ceiling(ceilings: Ceilings, metadata: dict[str, Any], path: str):
    with pytest.raises(InvalidField) as refused:
        judge(text_to_image(), ceilings=ceilings, **metadata)
    assert refused.value.data["errors"][0]["path"] == path


def test_lowered_limits_hold_whatever_is_bound():
    assert refusal(with_inputs(text_to_image(), "5", batch_size=5), max_batch_size=4)[1] == ["batch_over_limit"]
    assert refusal(text_to_image(), max_pixels=1024 * 768 - 1)[1] == ["resolution_over_limit"]
    unbound: dict[str, list[Any]] = {"width": [], "height": [], "batch_size": []}
    assert refusal(text_to_image(), max_pixels=64, bindings=unbound)[1] == ["resolution_over_limit"]
    verdict = judge(text_to_image(), max_batch_size=2, allow_controlnet=False, allow_dynamic_resolution=False)
    assert verdict.limits.to_json() == {
        "allow_controlnet": False, "allow_dynamic_resolution": False, "max_pixels": 2048 * 2048,
    }  # fmt: skip
    assert (verdict.max_batch_size, verdict.refusal) == (2, None)


@pytest.mark.parametrize("ceilings", [CEILINGS, NO_CONTROLNET])
def test_controlnets_run_only_where_they_are_allowed(ceilings: Ceilings):
    graph = text_to_image(
        n21=node("EmptyImage", width=64, height=64),
        n22=node("ControlNetLoader", control_net_name="canny.safetensors"),
        n23=node(
            "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["22", 0], image=["21", 0]
        ),
    )
    dead = judge(graph, ceilings=ceilings)
    assert dead.refusal is None
    graph = with_inputs(graph, "3", positive=["23", 0])
    if ceilings.allow_controlnet:
        assert judge(graph, ceilings=ceilings).refusal is None
    else:
        assert refusal(graph, ceilings=ceilings)[1] == ["controlnet_not_allowed"] * 2


# --- several workers


def test_one_worker_that_can_run_it_is_enough():
    older = {name: info for name, info in OBJECT_INFO.items() if name != "LatentBatchSeedBehavior"}
    verdict = best_verdict(with_behavior(), [("old", older), ("new", OBJECT_INFO)], given(), CEILINGS)
    assert (verdict.status, verdict.refusal, verdict.seed_mode) == ("valid", None, "native")
    assert verdict.report[-1].message == "old lacks the node LatentBatchSeedBehavior."
    nobody = best_verdict(with_behavior(), [("old", older)], given(), CEILINGS)
    assert nobody.refusal is not None
    assert best_verdict(with_behavior(), [], given(), CEILINGS).status == "unverified"


def test_what_a_worker_lacks_is_said_in_words():
    assert missing_on(text_to_image(), OBJECT_INFO) == []
    graph = with_inputs(text_to_image(n20=node("NobodysNode")), "4", ckpt_name="other.safetensors")
    assert missing_on(graph, OBJECT_INFO) == ["the node NobodysNode", "the model other.safetensors"]
    assert missing_on(text_to_image(n8=node("LoadImage", image="mine.png")), OBJECT_INFO) == ["the input file mine.png"]
    assert missing_on(text_to_image(n20=node("PaidImage", prompt="")), OBJECT_INFO) == [
        "leave to call the paid service of PaidImage"
    ]
    newer = with_inputs(text_to_image(), "3", sampler_name="newer")
    assert missing_on(newer, OBJECT_INFO) == ["what node 3 needs: KSampler.sampler_name cannot be 'newer'"]
