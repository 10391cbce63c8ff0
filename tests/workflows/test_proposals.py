"""Which inputs take the prompt, the seed and the size: found by links, never by titles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.graph import Bindings, Graph, fill
from comfylabel.comfy.object_info import ObjectInfo
from comfylabel.workflows.proposals import Proposal, propose
from comfylabel.workflows.schemas import BINDING_KINDS
from comfylabel.workflows.wiring import Wiring
from tests.support.object_info import OBJECT_INFO, node, text_to_image, with_inputs

Found = dict[str, list[str]]


def proposal(graph: Graph, object_info: ObjectInfo = OBJECT_INFO) -> Proposal:
    return propose(Wiring(graph, object_info), Bindings(), BINDING_KINDS)


def found(graph: Graph, object_info: ObjectInfo = OBJECT_INFO) -> Found:
    """As `{"prompt": ["6.text"], ...}`, empty kinds left out."""
    bindings = proposal(graph, object_info).bindings.to_json()
    words = {
        kind: [ref if isinstance(ref, str) else f"{ref['node']}.{ref['input']}" for ref in bindings[kind]]
        for kind in BINDING_KINDS
    }
    return {kind: refs for kind, refs in words.items() if refs}


def choices(graph: Graph) -> dict[str, list[str]]:
    return {
        kind: [f"{each['node']}.{each.get('input', '')}".rstrip(".") for each in candidates]
        for kind, candidates in proposal(graph).choices.items()
    }


USUAL: Found = {
    "prompt": ["6.text"], "seed": ["3.seed"], "width": ["5.width"], "height": ["5.height"],
    "batch_size": ["5.batch_size"], "images": ["9"],
}  # fmt: skip


@pytest.mark.parametrize("object_info", [OBJECT_INFO, {}], ids=["asked", "unasked"])
def test_the_usual_seven_nodes(object_info: ObjectInfo):
    assert found(text_to_image(), object_info) == USUAL


@given(st.permutations(sorted(text_to_image())), st.sampled_from([":", "x", "104:", "150:41:"]))
def test_neither_order_nor_ids_decide(order: list[str], prefix: str):
    graph = text_to_image()

    def renamed(value: object) -> object:
        return [prefix + value[0], value[1]] if isinstance(value, list) else value

    shuffled = {
        prefix + each: {
            "class_type": graph[each]["class_type"],
            "inputs": {name: renamed(value) for name, value in graph[each]["inputs"].items()},
        }
        for each in order
    }
    assert found(shuffled) == {kind: [prefix + ref for ref in refs] for kind, refs in USUAL.items()}


def test_titles_say_nothing():
    graph = text_to_image()
    graph["7"]["_meta"] = {"title": "Positive Prompt"}
    graph["6"]["_meta"] = {"title": "Negative Prompt"}
    assert found(graph) == USUAL


# --- prompt


def test_a_text_of_its_own_node_is_bound_there():
    graph = text_to_image(n20=node("PrimitiveStringMultiline", value="a cat"))
    assert found(with_inputs(graph, "6", text=["20", 0]))["prompt"] == ["20.value"]


def test_all_fields_of_one_encoder_are_one_prompt():
    graph = text_to_image(n6=node("CLIPTextEncodeFlux", clip=["4", 1], clip_l="cat", t5xxl="a cat on a mat"))
    assert found(graph)["prompt"] == ["6.clip_l", "6.t5xxl"]
    empty = text_to_image(n6=node("CLIPTextEncodeFlux", clip=["4", 1], clip_l="", t5xxl="a cat on a mat"))
    assert found(empty)["prompt"] == ["6.t5xxl"]
    sdxl = node("CLIPTextEncodeSDXL", clip=["4", 1], width=1024, height=768, text_g="a cat", text_l="a cat")
    assert found(text_to_image(n6=sdxl)) == USUAL | {"prompt": ["6.text_g", "6.text_l"]}


def test_an_empty_prompt_is_still_the_prompt():
    assert found(with_inputs(text_to_image(), "6", text=""))["prompt"] == ["6.text"]


def test_the_way_leads_through_nodes_that_carry_both_conditionings():
    graph = text_to_image(
        n21=node("EmptyImage", width=64, height=64),
        n22=node("ControlNetLoader", control_net_name="canny.safetensors"),
        n23=node(
            "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["22", 0], image=["21", 0]
        ),
    )
    assert found(with_inputs(graph, "3", positive=["23", 0], negative=["23", 1])) == USUAL
    assert found(with_inputs(graph, "3", positive=["23", 1], negative=["23", 0]))["prompt"] == ["7.text"]


def test_an_encoder_of_both_gives_its_prompt_and_not_its_negative():
    graph = text_to_image(n6=node("TextEncodePair", clip=["4", 1], prompt="a cat", negative_prompt="blurry"))
    assert found(with_inputs(graph, "3", positive=["6", 0], negative=["6", 1]))["prompt"] == ["6.prompt"]


def test_a_negative_made_of_the_positive_does_not_hide_it():
    graph = text_to_image(n7=node("ConditioningZeroOut", conditioning=["6", 0]))
    assert found(graph) == USUAL


def test_a_positive_that_was_zeroed_holds_no_prompt():
    graph = text_to_image(n20=node("ConditioningZeroOut", conditioning=["6", 0]))
    assert "prompt" not in found(with_inputs(graph, "3", positive=["20", 0]))


def test_of_a_guider_with_two_conditionings_the_first_is_positive():
    graph = text_to_image(
        n3=node("SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sigmas=["32", 0], latent_image=["5", 0]),
        n30=node("RandomNoise", noise_seed=5),
        n31=node("DualCFGGuider", model=["4", 0], cond1=["6", 0], cond2=["7", 0], negative=["6", 0]),
        n32=node("Flux2Scheduler", steps=20, width=1024, height=768),
    )
    assert found(graph) == USUAL | {
        "seed": ["30.noise_seed"], "width": ["5.width", "32.width"], "height": ["5.height", "32.height"],
    }  # fmt: skip


def test_one_text_in_two_encoders_is_written_twice():
    graph = text_to_image(
        n15=node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        n11=node(
            "KSamplerAdvanced", model=["4", 0], add_noise="disable", noise_seed=0, positive=["15", 0],
            negative=["7", 0], latent_image=["3", 0],
        ),
    )  # fmt: skip
    refined = with_inputs(graph, "8", samples=["11", 0])
    assert found(refined) == USUAL | {"prompt": ["6.text", "15.text"]}
    differing = with_inputs(refined, "15", text="a cat, sharper")
    assert choices(differing) == {"prompt": ["6.text", "15.text"]}


def test_two_texts_that_are_combined_are_the_callers_to_choose():
    graph = text_to_image(
        n15=node("CLIPTextEncode", text="by night", clip=["4", 1]),
        n16=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["15", 0]),
    )
    assert choices(with_inputs(graph, "3", positive=["16", 0])) == {"prompt": ["6.text", "15.text"]}


def words(**nodes: object) -> Graph:
    """The usual graph whose prompt comes from node 20."""
    return with_inputs(text_to_image(**nodes), "6", text=["20", 0])


def test_a_fixed_addition_is_not_the_prompt():
    graph = words(
        n20=node("StringConcatenate", string_a="trigger word, ", string_b=["21", 0], delimiter=""),
        n21=node("PrimitiveStringMultiline", value="a cat"),
    )
    assert found(graph)["prompt"] == ["21.value"]


def test_instructions_to_a_model_are_not_the_prompt():
    graph = words(
        n20=node("StringConcatenate", string_a=["22", 0], string_b=["21", 0], delimiter=""),
        n21=node("PrimitiveStringMultiline", value="a cat"),
        n22=node("PrimitiveStringMultiline", value="You are an assistant designed to generate images. <Prompt Start>"),
    )
    assert found(graph)["prompt"] == ["21.value"]


@pytest.mark.parametrize("literal", [True, False])
def test_two_parts_of_equal_right_are_the_callers_to_choose(literal: bool):
    graph = words(
        n20=node("StringConcatenate", string_a=["21", 0], string_b=["22", 0], delimiter=", "),
        n21=node("PrimitiveStringMultiline", value="a cat"),
        n22=node("PrimitiveStringMultiline", value="sugar-coated"),
    )
    if literal:
        graph = with_inputs(graph, "20", string_a="a cat", string_b="sugar-coated")
    expected = ["20.string_a", "20.string_b"] if literal else ["21.value", "22.value"]
    assert choices(graph) == {"prompt": expected}


def test_a_template_is_not_the_prompt_that_is_set_in_it():
    graph = words(
        n20=node("StringReplace", string=["22", 0], find="{width}", replace=["23", 0]),
        n22=node("StringReplace", string="[SYSTEM_PROMPT] enhance {prompt}", find="{prompt}", replace=["21", 0]),
        n21=node("PrimitiveStringMultiline", value="a cat"),
        n23=node("PreviewAny", source=1024),
    )
    assert found(graph)["prompt"] == ["21.value"]
    cleaned = words(
        n20=node("StringReplace", string=["21", 0], find="'", replace='"'),
        n21=node("PrimitiveStringMultiline", value="a"),
    )
    assert found(cleaned)["prompt"] == ["21.value"]


def test_a_format_is_a_frame_only_where_a_text_is_set_in_it():
    prompt = node("PrimitiveStringMultiline", value="a cat")
    values = {"values.a": ["21", 0], "values.b": ["22", 0]}
    hour = node("PrimitiveInt", value=5)
    framed = words(n20=node("StringFormat", f_string="{a}, at {b}", **values), n21=prompt, n22=hour)
    assert found(framed)["prompt"] == ["21.value"]
    alone = words(n20=node("StringFormat", f_string="a cat at {b}", **{"values.b": ["22", 0]}), n22=hour)
    assert found(alone)["prompt"] == ["20.f_string"]


@pytest.mark.parametrize("enhanced", [True, False])
def test_a_rewriting_model_gets_the_prompt_and_its_own_seed_stays(enhanced: bool):
    graph = words(
        n20=node("ComfySwitchNode", switch=["24", 0], on_false=["21", 0], on_true=["22", 0]),
        n21=node("PrimitiveStringMultiline", value="a cat"),
        n22=node("TextGenerate", clip=["4", 1], prompt=["23", 0], **{"sampling_mode": "on", "sampling_mode.seed": 0}),
        n23=node("StringConcatenate", string_a="Rewrite this", string_b=["21", 0], delimiter=""),
        n24=node("PrimitiveBoolean", value=enhanced),
    )
    assert found(graph) == USUAL | {"prompt": ["21.value"]}


@pytest.mark.parametrize(("state", "expected"), [(True, "22.value"), (False, "21.value")])
def test_of_two_texts_the_switch_decides(state: bool, expected: str):
    graph = words(
        n20=node("ComfySwitchNode", switch=state, on_false=["21", 0], on_true=["22", 0]),
        n21=node("PrimitiveStringMultiline", value="a cat"),
        n22=node("PrimitiveStringMultiline", value="a dog"),
    )
    assert found(graph)["prompt"] == [expected]


def test_text_nodes_that_double_at_every_step_are_read_once_each():
    nodes = {
        f"n{number}": node(
            "StringConcatenate", string_a=[str(number + 1), 0], string_b=[str(number + 1), 0], delimiter=""
        )
        for number in range(20, 60)
    }
    graph = words(**nodes, n60=node("PrimitiveStringMultiline", value="a cat"))
    assert found(graph)["prompt"] == ["60.value"]


# --- seed


def test_every_sampler_that_draws_noise_gets_the_seed():
    graph = text_to_image(
        n11=node(
            "KSamplerAdvanced", model=["4", 0], add_noise="enable", noise_seed=9, positive=["6", 0],
            negative=["7", 0], latent_image=["20", 0],
        ),
        n20=node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
    )  # fmt: skip
    graph = with_inputs(graph, "8", samples=["11", 0])
    assert found(graph) == USUAL | {"seed": ["3.seed", "11.noise_seed"]}
    inert = with_inputs(graph, "11", add_noise="disable")
    assert found(inert) == USUAL


def test_a_sampler_that_only_prepares_an_input_is_left_alone():
    graph = text_to_image(
        n30=node("SamplerCustomAdvanced", noise=["31", 0], guider=["32", 0], sigmas=["33", 0], latent_image=["34", 0]),
        n31=node("DisableNoise"),
        n32=node("BasicGuider", model=["4", 0], conditioning=["35", 0]),
        n33=node("Flux2Scheduler", steps=1, width=512, height=512),
        n34=node("EmptyLatentImage", width=512, height=512, batch_size=1),
        n35=node("ConditioningZeroOut", conditioning=["7", 0]),
        n36=node("VAEDecode", samples=["30", 0], vae=["4", 2]),
        n37=node("ControlNetLoader", control_net_name="canny.safetensors"),
        n38=node(
            "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["37", 0], image=["36", 0]
        ),
    )
    assert found(with_inputs(graph, "3", positive=["38", 0], negative=["38", 1])) == USUAL


def test_a_linked_seed_is_written_where_it_stands():
    graph = with_inputs(text_to_image(n20=node("PrimitiveInt", value=7)), "3", seed=["20", 0])
    assert found(graph)["seed"] == ["20.value"]


def test_samplers_of_other_images_are_left_alone():
    graph = text_to_image(
        n30=node(
            "KSampler", model=["4", 0], seed=2, steps=20, cfg=7.0, sampler_name="euler", scheduler="normal",
            positive=["7", 0], negative=["7", 0], latent_image=["5", 0], denoise=1.0,
        ),
    )  # fmt: skip
    assert found(graph) == USUAL


# --- size


def test_a_size_from_elsewhere_is_not_bound_but_the_batch_size_is():
    graph = text_to_image(n20=node("ResolutionSelector", aspect_ratio="1:1"))
    graph = with_inputs(graph, "5", width=["20", 0], height=["20", 1])
    assert found(graph) == {kind: refs for kind, refs in USUAL.items() if kind not in {"width", "height"}}


def test_one_side_alone_is_not_bound():
    graph = text_to_image(n20=node("ResolutionSelector", aspect_ratio="1:1"))
    assert "height" not in found(with_inputs(graph, "5", width=["20", 0]))


def test_a_size_in_primitives_is_written_there():
    graph = text_to_image(n20=node("PrimitiveInt", value=1024), n21=node("PrimitiveInt", value=768))
    graph = with_inputs(graph, "5", width=["20", 0], height=["21", 0])
    assert found(graph) == USUAL | {"width": ["20.value"], "height": ["21.value"]}


def test_a_picture_that_is_changed_has_no_size_to_set():
    graph = text_to_image(n20=node("LoadImage", image="in.png"), n5=node("VAEEncode", pixels=["20", 0], vae=["4", 2]))
    assert found(graph) == {kind: USUAL[kind] for kind in ("prompt", "seed", "images")}
    repeated = text_to_image(
        n20=node("LoadImage", image="in.png"),
        n21=node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
        n5=node("RepeatLatentBatch", samples=["21", 0], amount=4),
    )
    assert found(repeated)["batch_size"] == ["5.amount"]


def test_a_schedule_of_another_size_is_left_alone():
    graph = text_to_image(
        n3=node("SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sigmas=["32", 0], latent_image=["5", 0]),
        n30=node("RandomNoise", noise_seed=5),
        n31=node("BasicGuider", model=["4", 0], conditioning=["6", 0]),
        n32=node("Flux2Scheduler", steps=20, width=512, height=512),
    )
    assert found(graph)["width"] == ["5.width"]


# --- images


def test_what_is_saved_is_kept_and_a_preview_only_where_nothing_is():
    assert found(text_to_image(n10=node("PreviewImage", images=["8", 0])))["images"] == ["9"]
    assert found(text_to_image(n9=node("PreviewImage", images=["8", 0])))["images"] == ["9"]


def test_pictures_that_nothing_sampled_are_not_kept():
    graph = text_to_image(
        n20=node("LoadImage", image="in.png"), n21=node("SaveImage", images=["20", 0], filename_prefix="input")
    )
    assert found(graph) == USUAL


def test_one_picture_saved_twice_is_kept_once():
    graph = text_to_image(n10=node("SaveImage", images=["8", 0], filename_prefix="again"))
    assert found(graph) == USUAL


def test_two_pictures_are_the_callers_to_choose():
    graph = text_to_image(
        n10=node("ImageInvert", image=["8", 0]), n11=node("SaveImage", images=["10", 0], filename_prefix="inverted")
    )
    assert choices(graph) == {"images": ["9", "11"]}


def test_a_custom_node_that_saves_images_is_kept_and_one_that_makes_a_video_is_not():
    assert found(text_to_image(n9=node("Image Saver", images=["8", 0])))["images"] == ["9"]
    assert found(text_to_image(n9=node("VHS_VideoCombine", images=["8", 0]))) == {}


def test_video_and_frames_over_a_socket_leave_no_files():
    assert found(text_to_image(n9=node("SaveImageWebsocket", images=["8", 0]))) == {}


# --- the law


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["in", "out"]))
def test_filling_what_was_found_changes_the_prompt_and_never_the_negative(primitive, control, zeroed, negative):
    graph = text_to_image(n20=node("PrimitiveStringMultiline", value="a cat"))
    if primitive:
        graph = with_inputs(graph, "6", text=["20", 0])
    if zeroed:
        graph = with_inputs(graph, "3", negative=["21", 0]) | {"21": node("ConditioningZeroOut", conditioning=["6", 0])}
    if control:
        graph |= {
            "22": node("ControlNetLoader", control_net_name="canny.safetensors"),
            "23": node("EmptyImage", width=64, height=64),
            "24": node(
                "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["22", 0], image=["23", 0]
            ),
        }
        graph = with_inputs(graph, "3", positive=["24", 0])
        graph = with_inputs(graph, "3", negative=["24", 1]) if negative == "in" and not zeroed else graph
    bindings = proposal(graph).bindings
    filled = fill(graph, bindings, prompt="a dog", seed=77, batch_size=3)
    holder = "20" if primitive else "6"
    assert filled[holder]["inputs"]["value" if primitive else "text"] == "a dog"
    assert filled["7"]["inputs"]["text"] == "blurry"
    assert filled["3"]["inputs"]["seed"] == 77
    assert filled["5"]["inputs"]["batch_size"] == 3
