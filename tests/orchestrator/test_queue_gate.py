"""What is about to be sent is put together and hashed beside the loop when it is large."""

import asyncio
from uuid import uuid4

from comfylabel.comfy.graph import Bindings, InputRef, digest
from comfylabel.orchestrator import queue_gate
from comfylabel.orchestrator.schemas import Plan


def plan_of(graph) -> Plan:
    bindings = Bindings(prompt=(InputRef("6", "text"),), seed=(InputRef("3", "seed"),))
    return Plan(
        task_id=uuid4(), prompt_id=uuid4(), chunk=0, pilot_id=None, workflow_id=uuid4(), priority=0, graph=graph,
        bindings=bindings, text="a cat", seed=7, batch_size=1,
    )  # fmt: skip


def graph_of(nodes: int):
    notes = {f"n{number}": {"class_type": "Note", "inputs": {"text": "x" * 1000}} for number in range(nodes)}
    return {"3": {"class_type": "KSampler", "inputs": {"seed": 0}}, "6": {"class_type": "T", "inputs": {}}} | notes


async def turns_of_the_loop(plan: Plan) -> int:
    """How often others had their turn while the graph was made."""
    making = asyncio.create_task(queue_gate.graph_to_send(plan, uuid4()))
    turns = 0
    while not making.done():
        turns += 1
        await asyncio.sleep(0)
    graph, graph_digest = await making
    assert (graph["6"]["inputs"]["text"], graph["3"]["inputs"]["seed"]) == ("a cat", 7)
    assert graph_digest == digest(graph)
    return turns


async def test_a_graph_of_megabytes_does_not_hold_the_loop():
    assert await turns_of_the_loop(plan_of(graph_of(8_000))) > 2


async def test_a_usual_graph_is_made_at_once():
    assert await turns_of_the_loop(plan_of(graph_of(10))) <= 2
