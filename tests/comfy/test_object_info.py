import pytest

from comfylabel.comfy.object_info import choices, declared_inputs, is_api_node, link_fits
from tests.support.object_info import OBJECT_INFO, classed


def test_choices_are_read_in_both_shapes():
    inputs = declared_inputs(OBJECT_INFO["KSampler"], {})
    assert choices(inputs["sampler_name"]) == ["euler", "dpmpp_2m"]
    assert choices(inputs["scheduler"]) == ["normal", "karras"]
    assert choices(inputs["seed"]) is None


def test_a_list_that_only_browsers_know_is_no_list():
    info = classed({"voice": ["COMBO", {"options": [], "remote_combo": {"route": "/voices"}}]})
    assert choices(declared_inputs(info, {})["voice"]) is None


@pytest.mark.parametrize(
    ("info", "paid"),
    [
        ({"api_node": True}, True),
        ({"api_node": False, "category": "partner/image"}, False),
        ({"api_node": False, "category": "api node/image"}, False),
        ({"category": "api node/image/BFL"}, True),
        ({"category": "image"}, False),
    ],
)
def test_a_paid_node_is_known_by_its_flag(info: dict[str, object], paid: bool):
    assert is_api_node(info) is paid


def test_a_growing_input_declares_its_row_and_needs_the_first_ones():
    inputs = declared_inputs(OBJECT_INFO["BatchImages"], {"images.image0": ["1", 0]})
    assert {name: spec.required for name, spec in inputs.items()} == {
        "images.image0": True, "images.image1": True, "images.image2": False, "images.image3": False,
    }  # fmt: skip


def test_a_choice_declares_the_inputs_of_its_option_and_no_other():
    info = OBJECT_INFO["ResizeImage"]
    assert set(declared_inputs(info, {"resize_type": "by factor"})) == {"input", "resize_type", "resize_type.factor"}
    assert set(declared_inputs(info, {"resize_type": "unheard of"})) == {"input"}
    assert set(declared_inputs(info, {})) == {"input"}


def test_named_rows_and_slots_unfold_too():
    info = classed(
        {
            "values": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"optional": {"v": ["*", {}]}}, "names": ["a", "b"], "min": 1}},
            ]
        },
        optional={"mask": ["COMFY_DYNAMICSLOT_V3", {"inputs": {"required": {"grow": ["INT", {}]}}}]},
    )
    assert {name: spec.required for name, spec in declared_inputs(info, {}).items()} == {
        "values.a": False, "values.b": False,
    }  # fmt: skip
    assert "mask.grow" in declared_inputs(info, {"mask": ["1", 0]})


def test_a_description_that_makes_no_sense_declares_what_it_can():
    info = {"input": {"required": {"a": [], "b": "INT", "c": ["INT"]}, "optional": None}}
    assert {name: spec.type for name, spec in declared_inputs(info, {}).items()} == {"a": "*", "b": "*", "c": "INT"}
    assert declared_inputs({}, {}) == {}


@pytest.mark.parametrize(
    ("received", "wanted", "fits"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "MASK", False),
        ("IMAGE", "IMAGE,MASK", True),
        ("FILE_3D_FBX, FILE_3D", "FILE_3D", True),
        ("*", "LATENT", True),
        ("LATENT", "*", True),
        ("COMFY_MATCHTYPE_V3", "LATENT", True),
        ("LATENT", "COMFY_MATCHTYPE_V3", True),
        (["a", "b"], "COMBO", True),
        (["a", "b"], ["a", "b"], True),
        ("STRING", ["a", "b"], False),
        ("STRING", "COMBO", False),
    ],
)
def test_links_fit_as_the_server_says(received: object, wanted: object, fits: bool):
    assert link_fits(received, wanted) is fits
