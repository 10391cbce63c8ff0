import hashlib
from typing import Any
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.tasks.schemas import Prompt, Seed
from comfylabel.tasks.snapshot import HEAD, DocumentDigest, canonical, entry, tail

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
prompts = st.builds(
    Prompt,
    st.uuids(),
    st.integers(0, 100),
    texts,
    st.dictionaries(texts, texts, max_size=3),
    edited=st.booleans(),
    seeds=st.lists(st.builds(Seed, st.uuids(), st.integers(0, 2**53 - 1)), max_size=3).map(tuple),
)
frozen = st.dictionaries(texts, json_values, max_size=4)


def document(listed: list[Prompt], task: dict[str, Any]) -> bytes:
    return HEAD + b",".join(map(entry, listed)) + tail(task)


def digest(listed: list[Prompt], task: dict[str, Any]) -> str:
    fed = DocumentDigest()
    for prompt in listed:
        fed.add(prompt)
    return fed.whole(task)


@given(json_values)
def test_canonical_json_is_read_back_as_it_was(value: Any) -> None:
    assert orjson.loads(canonical(value)) == value
    assert canonical(orjson.loads(canonical(value))) == canonical(value)


@given(st.lists(prompts, max_size=4), frozen)
def test_the_pieces_make_one_canonical_document_with_that_digest(listed: list[Prompt], task: dict[str, Any]) -> None:
    whole = document(listed, task)
    parsed = orjson.loads(whole)
    assert canonical(parsed) == whole
    assert digest(listed, task) == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert [(UUID(each["id"]), each["text"], each["seeds"]) for each in parsed["prompts"]] == [
        (prompt.id, prompt.text, [seed.value for seed in prompt.seeds]) for prompt in listed
    ]


@given(st.lists(prompts, min_size=2, max_size=4, unique_by=entry), frozen, st.data())
def test_any_change_of_a_prompt_a_seed_or_their_order_changes_the_digest(
    listed: list[Prompt], task: dict[str, Any], data: st.DataObject
) -> None:
    changed = data.draw(st.permutations(listed) | st.just(listed[1:]))
    assert (digest(changed, task) == digest(listed, task)) == (changed == listed)


def test_the_parts_have_digests_of_their_own() -> None:
    prompt = Prompt(UUID(int=1), 0, "a", {"b": "c"}, edited=False, seeds=(Seed(UUID(int=2), 5), Seed(UUID(int=3), 6)))
    fed = DocumentDigest()
    fed.add(prompt)
    assert (fed.prompts, fed.seeds) == (1, 2)
    assert fed.digests == {
        "prompts_sha256": hashlib.sha256(
            b'{"id":"00000000-0000-0000-0000-000000000001","text":"a","variables":{"b":"c"}}\n'
        ).hexdigest(),
        "seeds_sha256": hashlib.sha256(b"[5,6]\n").hexdigest(),
    }
