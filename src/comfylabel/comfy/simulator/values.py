"""What flows along the links of a simulated graph, and what a node can do besides returning it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from comfylabel.comfy.simulator.pictures import Picture


@dataclass(frozen=True, slots=True)
class Latent:
    """`batch_index` as ComfyUI's own: None means that each image has the noise of its place in the batch."""

    pictures: tuple[Picture, ...]
    batch_index: tuple[int, ...] | None = None

    @property
    def noise_indexes(self) -> tuple[int, ...]:
        return self.batch_index or tuple(range(len(self.pictures)))

    @property
    def pixels(self) -> int:
        return sum(picture.width * picture.height for picture in self.pictures)


@dataclass(frozen=True, slots=True)
class Noise:
    seed: int


@dataclass(frozen=True, slots=True)
class Guider:
    positive: str


class NodeFailure(Exception):
    """What a node raises, with the name that ComfyUI would print for its class."""

    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type
        self.message = message


class Interrupted(Exception):
    """The job was told to stop."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an output node leaves in the history, and nothing to link to."""

    ui: dict[str, list[Any]]
    outputs: tuple[Any, ...] = ()


class Job(Protocol):
    """What a running node may ask of the server."""

    node_id: str

    async def sample(self, latent: Latent, steps: int) -> None:
        """Takes the time and the memory of a sampler, or fails as one."""

    async def sleep(self, seconds: float, *, interruptible: bool) -> None: ...

    def save(self, pictures: tuple[Picture, ...], prefix: str, folder: str) -> list[dict[str, str]]:
        """Files in the output or temp folder, named in batch order."""

    async def send_pictures(self, pictures: tuple[Picture, ...]) -> None:
        """Binary websocket frames, as SaveImageWebsocket sends them."""

    def upload(self, name: str) -> Picture: ...


Run = Callable[..., Awaitable[tuple[Any, ...] | Shown]]
