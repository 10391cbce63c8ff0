import json
from copy import deepcopy

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.graph import Bindings, InputRef, digest, fill, native_size, parse_graph, prompt_template, upstream
from comfylabel.errors import InvalidInput
from tests.support.object_info import node, text_to_image

BINDINGS = Bindings(
    prompt=(InputRef("6", "text"),),
    seed=(InputRef("3", "seed"),),
    width=(InputRef("5", "width"),),
    height=(InputRef("5", "height"),),
    batch_size=(InputRef("5", "batch_size"),),
    images=("9",),
)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | names | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
graphs = st.dictionaries(
    names,
    st.fixed_dictionaries({"class_type": names, "inputs": st.dictionaries(names, values, max_size=4)}),
    min_size=1,
).filter(lambda graph: not isinstance(graph.get("nodes"), list))


def test_a_graph_and_its_wrapping_read_the_same():
    raw = text_to_image()
    assert parse_graph(json.dumps(raw).encode()) == raw
    assert parse_graph(json.dumps({"prompt": raw, "client_id": "x"}).encode()) == raw
    assert parse_graph(b"\xef\xbb\xbf" + json.dumps(raw).encode()) == raw


def test_a_node_called_prompt_is_a_node():
    raw = {"prompt": node("SaveImage", images=["1", 0])}
    assert parse_graph(json.dumps(raw).encode()) == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_a_graph"),
        (b'"text"', "not_a_graph"),
        (b"null", "not_a_graph"),
        (b"{}", "not_a_graph"),
        (b'{"prompt": {}}', "not_a_graph"),
        (b'{"1": 5}', "not_a_graph"),
        (b'{"1": {"class_type": "SaveImage", "inputs": null}}', "not_a_graph"),
        (b'{"1": {"class_type": "SaveImage", "inputs": {}}, "comment": "mine"}', "not_a_graph"),
        (b'{"1": {"inputs": {"UNKNOWN": 3}}}', "not_a_graph"),
        (b'{"nodes": [], "links": [], "version": 0.4}', "ui_format"),
        (b'{"prompt": {"nodes": [], "links": []}}', "ui_format"),
        (b'{"1": {"class_type": "X", "inputs": {"text": "\\ud800"}}}', "not_storable"),
        (b'{"1": {"class_type": "X", "inputs": {"text": "a\\u0000b"}}}', "not_storable"),
        (b'{"1": {"class_type": "X", "inputs": {"deep": ' + b"[" * 500 + b"]" * 500 + b"}}}", "not_storable"),
    ],
)
def test_what_is_no_graph_is_refused_with_its_reason(raw: bytes, code: str):
    with pytest.raises(InvalidInput) as refused:
        parse_graph(raw)
    assert refused.value.code == code
    assert refused.value.status == 422
    assert refused.value.message.endswith(".")


def test_a_backslash_before_u0000_is_text_and_not_a_nul():
    graph = parse_graph(b'{"1": {"class_type": "X", "inputs": {"text": "\\\\u0000"}}}')
    assert graph["1"]["inputs"]["text"] == "\\u0000"


def test_numbers_that_json_lacks_keep_their_meaning():
    raw = b'{"1": {"class_type": "X", "inputs": {"a": NaN, "b": -Infinity, "c": 1e400, "d": -0.0}}}'
    assert parse_graph(raw)["1"]["inputs"] == {"a": "NaN", "b": "-Infinity", "c": "Infinity", "d": 0.0}


def test_a_seed_that_a_browser_rounded_up_is_kept_as_a_number():
    raw = b'{"1": {"class_type": "X", "inputs": {"a": 18446744073709551615, "b": 18446744073709552000, "c": 1e17}}}'
    inputs = parse_graph(raw)["1"]["inputs"]
    assert inputs == {"a": 2**64 - 1, "b": 2.0**64, "c": 10**17}
    assert orjson.loads(orjson.dumps(inputs)) == inputs


@given(graphs)
def test_reading_what_was_written_changes_nothing(graph):
    once = parse_graph(json.dumps(graph).encode())
    again = parse_graph(orjson.dumps(once))
    assert again == once
    assert digest(again) == digest(once)


@given(graphs, st.randoms(use_true_random=False))
def test_the_digest_does_not_see_the_order_of_keys(graph, random):
    graph = parse_graph(json.dumps(graph).encode())
    order = list(graph)
    random.shuffle(order)
    shuffled = {key: dict(reversed(graph[key].items())) for key in order}
    assert digest(shuffled) == digest(graph)


def test_the_digest_sees_every_value():
    assert digest(text_to_image()) != digest(text_to_image(n6=node("CLIPTextEncode", text="a dog", clip=["4", 1])))


@given(
    prompt=st.text(),
    seed=st.integers(0, 2**53 - 1),
    batch_size=st.none() | st.integers(1, 64),
    size=st.none() | st.tuples(st.integers(64, 4096), st.integers(64, 4096)),
    prefix=st.none() | st.text(),
)
def test_only_bound_inputs_change_and_the_given_graph_does_not(prompt, seed, batch_size, size, prefix):
    graph = text_to_image()
    before = deepcopy(graph)
    width, height = size or (None, None)
    filled = fill(
        graph,
        BINDINGS,
        prompt=prompt.encode("utf-8", "replace").decode(),
        seed=seed,
        batch_size=batch_size,
        width=width,
        height=height,
        filename_prefix=prefix and prefix.encode("utf-8", "replace").decode(),
    )
    assert graph == before
    allowed = {
        ("6", "text"),
        ("3", "seed"),
        ("5", "width"),
        ("5", "height"),
        ("5", "batch_size"),
        ("9", "filename_prefix"),
    }
    for node_id, entry in graph.items():
        for name, value in entry["inputs"].items():
            assert filled[node_id]["inputs"][name] == value or (node_id, name) in allowed
    assert filled["3"]["inputs"]["seed"] == seed
    assert filled["5"]["inputs"]["batch_size"] == (batch_size or 1)
    assert filled["5"]["inputs"]["width"] == (width or 1024)
    assert filled.keys() == graph.keys()


def test_one_prompt_goes_into_every_bound_input():
    graph = text_to_image(n15=node("CLIPTextEncode", text="a cat", clip=["4", 1]))
    bindings = Bindings(prompt=(InputRef("6", "text"), InputRef("15", "text")), seed=(InputRef("3", "seed"),))
    filled = fill(graph, bindings, prompt="a dog", seed=5)
    assert [filled[each]["inputs"]["text"] for each in ("6", "15", "7")] == ["a dog", "a dog", "blurry"]


def test_a_prefix_is_set_only_where_the_kept_node_has_one():
    graph = text_to_image(n9=node("PreviewImage", images=["8", 0]))
    assert fill(graph, BINDINGS, prompt="", seed=0, filename_prefix="x")["9"] == graph["9"]


refs = st.builds(InputRef, names, names)


@given(st.builds(Bindings, *[st.lists(refs, max_size=3).map(tuple)] * 5, st.lists(names, max_size=3).map(tuple)))
def test_bindings_survive_json(bindings):
    assert Bindings.from_json(orjson.loads(orjson.dumps(bindings.to_json()))) == bindings


def test_the_template_and_the_size_are_what_stands_in_the_bound_inputs():
    graph = text_to_image()
    assert prompt_template(graph, BINDINGS) == "a cat"
    assert native_size(graph, BINDINGS) == (1024, 768)
    assert native_size(graph, Bindings()) == (None, None)


def test_upstream_ends_in_a_loop_and_at_a_dangling_link():
    graph = {"1": node("A", x=["2", 0]), "2": node("B", x=["1", 0], y=["77", 0]), "3": node("C")}
    assert upstream(graph, ["1"]) == {"1", "2"}
