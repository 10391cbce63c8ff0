"""docs/openapi.json is what the server serves, and fit for a generated client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from comfylabel.main import openapi_document

COMMITTED = Path(__file__).parent.parent / "docs" / "openapi.json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    served: dict[str, Any] = orjson.loads(openapi_document())
    return served


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield f"{method.upper()} {path}", item[method]


def test_the_committed_document_is_this_servers():
    assert COMMITTED.read_bytes() == openapi_document(), "run: make openapi"


def test_every_operation_has_a_name_of_its_own_and_a_place(document: dict[str, Any]):
    names = [operation["operationId"] for _, operation in operations(document)]

    assert len(set(names)) == len(names)
    assert [place for place, operation in operations(document) if not operation.get("tags")] == []


def test_every_operation_tells_how_it_fails(document: dict[str, Any]):
    for place, operation in operations(document):
        refused = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
        assert refused == {"$ref": "#/components/schemas/ErrorEnvelope"}, place
        assert "422" not in operation["responses"], place


def test_answers_have_no_optional_keys(document: dict[str, Any]):
    """A default in an answer's schema would make each key of the generated client's types optional."""
    schemas = document["components"]["schemas"]
    for name in answered(document):
        schema = schemas[name]
        assert set(schema.get("properties", {})) == set(schema.get("required", [])), name


def answered(document: dict[str, Any]) -> set[str]:
    """The schemas that answers are made of, at any depth."""
    found: set[str] = set()
    todo = [operation["responses"] for _, operation in operations(document)]
    while todo:
        for reference in references(todo.pop()):
            if reference not in found:
                found.add(reference)
                todo.append(document["components"]["schemas"][reference])
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rsplit("/", 1)[-1]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)
