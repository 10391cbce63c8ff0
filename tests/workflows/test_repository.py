import json
from typing import Any

from comfylabel.comfy.graph import Bindings, InputRef, digest, parse_graph
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.workflows import repository
from comfylabel.workflows.schemas import Limits, Line

AWKWARD = b"""{"2": {"class_type": "X", "inputs": {"z": 1.0, "a": 1e17, "m": 1e-7, "n": NaN, "s": 18446744073709552000,
  "t": 0.30000000000000004, "u": -0.0, "w": "</script>'\\"\\u00e9", "l": ["1:2", 0], "k": {"__value__": [1, 2.5]}}},
  "1:2": {"class_type": "Y", "inputs": {}, "_meta": {"title": null}}}"""


async def test_a_graph_comes_back_as_it_went_in(database: Database):
    graph = parse_graph(AWKWARD)
    bindings = Bindings(prompt=(InputRef("1:2", "text"), InputRef("2", "w")), seed=(InputRef("2", "s"),), images=("9",))
    report = (Line("warning", "legacy_node", "2", "X is a legacy node."), Line("info", "unverified", None, "Unasked."))
    stored: dict[str, Any] = {
        "name": "awkward",
        "version": "1",
        "model": "sdxl",
        "max_batch_size": 4,
        "seed_mode": "native",
        "status": "warnings",
        "bindings": bindings,
        "limits": Limits(allow_controlnet=True, allow_dynamic_resolution=False, max_pixels=10**6),
        "report": report,
        "raw_definition": graph,
        "validated_at": None,
    }
    async with database.transaction() as connection:
        workflow_id = uuid7()
        made = await repository.insert(connection, workflow_id, **stored)
        assert await repository.insert(connection, uuid7(), **stored) is None
    async with database.connection() as connection:
        found = await repository.get(connection, workflow_id)
        assert not await repository.is_used(connection, workflow_id)
        nodes = await connection.fetchrow("select prompt_nodes, seed_nodes, forbidden_nodes from workflows")
    assert found == made
    assert found is not None
    assert {name: getattr(found, name) for name in stored} == stored
    assert digest(found.raw_definition) == digest(graph)
    assert json.loads(json.dumps(found.raw_definition)) == graph
    assert tuple(nodes or ()) == (["1:2", "2"], ["2"], [])
