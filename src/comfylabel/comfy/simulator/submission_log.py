"""What a simulated worker was asked for and made: the ground truth that tests and the demo compare with."""

from dataclasses import dataclass, field
from typing import Any

from comfylabel.comfy.simulator.files import StoredFile
from comfylabel.comfy.simulator.packed import Packed
from comfylabel.comfy.simulator.pictures import Digests, Picture, digests


@dataclass(slots=True)
class LoggedImage:
    node: str
    file: StoredFile
    picture: Picture

    @property
    def prompt(self) -> str:
        return self.picture.prompt

    @property
    def seed(self) -> int | None:
        return self.picture.seed

    @property
    def batch_index(self) -> int:
        return self.picture.batch_index

    @property
    def digests(self) -> Digests:
        """Draws the picture if nobody has looked at it yet."""
        if self.file.digests is None:
            self.file.digests = digests(self.picture)
        return self.file.digests

    def recipe(self) -> dict[str, Any]:
        """All that is known without drawing it."""
        return {
            "node": self.node,
            **self.file.reference,
            "prompt": self.prompt,
            "seed": self.seed,
            "batch_index": self.batch_index,
            "width": self.picture.width,
            "height": self.picture.height,
        }

    def to_json(self) -> dict[str, Any]:
        return self.recipe() | {"pixels_sha256": self.digests.pixels, "clean_sha256": self.digests.clean}


@dataclass(slots=True)
class LoggedSubmission:
    """`seed`, `batch_size` and the size are those of its sampler; times are seconds since the epoch."""

    id: str
    number: float
    client_id: str | None
    packed_graph: Packed
    queued: float
    started: float | None = None
    ended: float | None = None
    outcome: str | None = None  # success, error, interrupted; None while it waits or runs, or when it was lost
    prompt: str | None = None
    seed: int | None = None
    batch_size: int | None = None
    width: int | None = None
    height: int | None = None
    images: list[LoggedImage] = field(default_factory=list)

    @property
    def graph(self) -> dict[str, Any]:
        graph: dict[str, Any] = self.packed_graph.value()
        return graph

    def to_json(self) -> dict[str, Any]:
        document = {name: getattr(self, name) for name in self.__slots__ if name not in {"images", "packed_graph"}}
        return document | {"graph": self.graph, "images": [image.to_json() for image in self.images]}
