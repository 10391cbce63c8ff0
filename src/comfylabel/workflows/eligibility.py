"""Which worker can run a graph. Pure."""

from comfylabel.comfy.graph import Graph, class_of
from comfylabel.comfy.object_info import ObjectInfo, node_info
from comfylabel.workflows import server_rules
from comfylabel.workflows.wiring import Wiring


def missing_on(graph: Graph, object_info: ObjectInfo) -> list[str]:
    """What a worker lacks for this graph, in words that follow "gpu-1 lacks"; nothing when it can run it."""
    served = server_rules.as_served(graph, object_info)
    unknown = {class_of(served, node_id) for node_id in served}
    lacking = [f"the node {name}" for name in sorted(unknown) if name and node_info(object_info, name) is None]
    paid = {line.node for line in server_rules.check_api_nodes(served, object_info, set(served))}
    lacking += [
        f"leave to call the paid service of {class_of(served, node_id)}" for node_id in served if node_id in paid
    ]
    wiring = Wiring(served, object_info)
    lacking += server_rules.absent_files(wiring)
    if not lacking:
        errors = (line for line in server_rules.check_inputs(wiring) if line.level == "error")
        lacking += [f"what node {line.node} needs: {line.message.rstrip('.')}" for line in errors]
    return list(dict.fromkeys(lacking))
