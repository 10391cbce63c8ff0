"""Who depends on whom in a graph: loops, dangling links and depth. Pure."""

from collections.abc import Collection, Iterable, Iterator

from comfylabel.comfy.graph import Graph, as_link, inputs_of, links_into
from comfylabel.workflows.schemas import Line

# Seen on 0.28.1: a chain of 976 nodes passes, one of 977 exhausts the server's stack.
DEEPEST_CHAIN = 976


def outputs_of(graph: Graph, node_id: str, only: Collection[str] | None = None) -> Iterator[str]:
    """The nodes that `node_id` takes inputs from, those of the inputs `only` where given."""
    for name, link in links_into(graph, node_id):
        if link.node in graph and (only is None or name in only):
            yield link.node


def check_links(graph: Graph, alive: Iterable[str]) -> list[Line]:
    """Links of the nodes `alive` that lead to no node. Execution follows also the inputs that nobody declared."""
    lines = []
    for node_id in alive:
        for name, value in inputs_of(graph, node_id).items():
            link = as_link(value)
            if link is not None and link.node not in graph:
                lines.append(
                    Line("error", "dangling_link", node_id, f"The input {name} of node {node_id} is linked to node "
                         f"{link.node}, which is not there.")
                )  # fmt: skip
    return lines


def check_shape(graph: Graph, alive: set[str]) -> list[Line]:
    """Loops among the nodes `alive`, else chains that are too long for the server's stack."""
    depth: dict[str, int] = {}
    for start in alive:
        loop = _measure(graph, start, depth)
        if loop:
            path = " -> ".join(loop)
            return [Line("error", "loop", loop[0], f"Nodes depend on themselves in a loop: {path}.")]
    deepest = max(depth.values(), default=0)
    if deepest > DEEPEST_CHAIN:
        return [
            Line("error", "too_deep", None, f"{deepest} nodes depend on each other in a row; a server manages "
                 f"{DEEPEST_CHAIN}.")
        ]  # fmt: skip
    return []


def _measure(graph: Graph, start: str, depth: dict[str, int]) -> list[str]:
    """Fill in how many nodes in a row end at `start` and at all below it; the loop where there is one."""
    path: list[str] = []
    on_path: set[str] = set()
    stack: list[tuple[str, bool]] = [(start, False)]
    while stack:
        node_id, below_done = stack.pop()
        if below_done:
            path.pop()
            on_path.discard(node_id)
            depth[node_id] = 1 + max((depth[below] for below in outputs_of(graph, node_id)), default=0)
        elif node_id in on_path:
            return [*path[path.index(node_id) :], node_id]
        elif node_id not in depth:
            path.append(node_id)
            on_path.add(node_id)
            stack.append((node_id, True))
            stack += [(below, False) for below in outputs_of(graph, node_id)]
    return []
