import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.variable_pools.composing import compose, join


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("a model wearing {dress}, {light}", {"dress": "a coat", "light": "dusk"}, "a model wearing a coat, dusk"),
        ("{ dress } and {dress}", {"dress": "a coat"}, "a coat and a coat"),
        ("any example text", {"dress": "a coat", "light": "dusk"}, "a coat, dusk"),
        ("", {"dress": "a coat"}, "a coat"),
        ("a model in {dress}", {"dress": "a coat", "light": "dusk"}, "a model in a coat, dusk"),
        ("{dress}", {"dress": "{light}", "light": "dusk"}, "{light}, dusk"),
        ("{a} {a b}", {"a": "1", "a b": "2"}, "1 2"),
        ("{it's <b>\"}", {"it's <b>\"": "</script>"}, "</script>"),
        ("{dress|coat}", {"dress": "a coat"}, "a coat"),
        ("a plain prompt", {}, "a plain prompt"),
        ("{x.*}", {"x.*": "1", "xyz": "2"}, "1, 2"),
    ],
)
def test_placeholders_are_filled_once_and_what_has_no_place_follows(template, values, text):
    assert compose(template, values) == text


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["a model wearing summer dress,", " soft lighting "], "a model wearing summer dress, soft lighting"),
        (["One sentence.", "Another one!"], "One sentence. Another one!"),
        (["a", " ,; ", "b"], "a, b"),
        ([], ""),
    ],
)
def test_separators_are_clean(texts, joined):
    assert join(texts) == joined


items = st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=8).filter(str.strip)


@given(st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1, max_size=4), items, min_size=1))
def test_every_item_is_in_the_prompt(values):
    assert all(item.strip() in compose("", values) for item in values.values())


@given(st.dictionaries(st.text(st.characters(exclude_characters="{}"), min_size=1, max_size=4).filter(
    lambda name: name == name.strip()), items, min_size=1))  # fmt: skip
def test_a_template_that_names_every_pool_is_filled_with_the_items_alone(values):
    template = "".join(f"<{{{name}}}>" for name in values)
    assert compose(template, values) == "".join(f"<{item}>" for item in values.values())
