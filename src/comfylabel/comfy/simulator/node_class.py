"""One node class of the simulated server: its description as /object_info gives it, and what it does."""

from dataclasses import dataclass, field
from typing import Any

from comfylabel.comfy.simulator.releases import Release
from comfylabel.comfy.simulator.values import Run

# Filled in from the files that the worker has: ("FILES", folder).
FILES = "FILES"


@dataclass(frozen=True, slots=True)
class NodeClass:
    name: str
    run: Run
    required: dict[str, list[Any]]
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    optional: dict[str, list[Any]] = field(default_factory=dict)
    required_in_0_3: dict[str, list[Any]] = field(default_factory=dict)  # where it was another
    hidden: dict[str, Any] = field(default_factory=dict)
    category: str = "simulated"
    display_name: str | None = None
    description: str = ""
    output_node: bool = False
    schema_v3: bool = False
    api_node: bool = False
    checks_image: bool = False  # LoadImage's own validation
    samples: bool = False  # takes the time and the memory of a job

    def inputs(self, files: dict[str, list[str]], release: Release) -> dict[str, dict[str, list[Any]]]:
        """`required` and `optional` with the files that this worker has in place of folder names."""
        required = self.required if release.has("leaves_0_3") else self.required | self.required_in_0_3
        return {
            "required": {name: _with_files(spec, files) for name, spec in required.items()},
            "optional": {name: _with_files(spec, files) for name, spec in self.optional.items()},
        }

    def describe(self, files: dict[str, list[str]], release: Release) -> dict[str, Any]:
        inputs = {group: specs for group, specs in self.inputs(files, release).items() if specs or group == "required"}
        if self.hidden:
            inputs["hidden"] = self.hidden
        document: dict[str, Any] = {
            "input": inputs,
            "input_order": {group: list(specs) for group, specs in inputs.items()},
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.output_names or self.outputs),
            "name": self.name,
            "display_name": self.display_name or (None if self.schema_v3 else self.name),
            "description": self.description,
            "python_module": "comfylabel.simulated",
            "category": self._category(release),
            "output_node": self.output_node,
        }
        if self.schema_v3:
            document |= {
                "output_tooltips": [None] * len(self.outputs),
                "deprecated": False,
                "experimental": False,
                "api_node": self.api_node,
            }
        return document

    def _category(self, release: Release) -> str:
        if not self.api_node:
            return self.category
        return f"{'partner' if release.has('partner_category') else 'api node'}/{self.category}"


def _with_files(spec: list[Any], files: dict[str, list[str]]) -> list[Any]:
    if isinstance(spec[0], tuple) and spec[0][0] == FILES:
        return [sorted(files.get(spec[0][1], [])), *spec[1:]]
    return spec


def number(kind: str, default: float, low: float, high: float, **more: Any) -> list[Any]:
    return [kind, {"default": default, "min": low, "max": high, **more}]


def choice_v3(options: list[str], default: str) -> list[Any]:
    return ["COMBO", {"default": default, "multiselect": False, "options": options}]


def files_of(folder: str, tooltip: str) -> list[Any]:
    return [(FILES, folder), {"tooltip": tooltip}]
