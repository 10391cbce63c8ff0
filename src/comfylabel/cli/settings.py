"""The settings of a command: the environment, then its options; and how a child process comes to have the same."""

import os
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pydantic

from comfylabel.errors import ComfyLabelError
from comfylabel.settings import Settings


class SettingsUnusableError(ComfyLabelError):
    """The settings cannot be used."""


def read_settings(**options: Any) -> Settings:
    """Options that were not given (None) leave the environment's value."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except pydantic.ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsUnusableError(f"These settings cannot be used: {said}.") from error
    data_dir = settings.data_dir.expanduser().absolute()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return settings.model_copy(update={"data_dir": data_dir})


def as_environment(settings: Settings) -> Mapping[str, str]:
    """The whole environment of a child process that is to read these settings and no others."""
    values = settings.model_dump(exclude_none=True)
    ours = {f"COMFYLABEL_{name.upper()}": str(value) for name, value in values.items()}
    return {name: value for name, value in os.environ.items() if name not in _variables()} | ours


def _variables() -> set[str]:
    aliases = [field.validation_alias for field in Settings.model_fields.values()]
    choices = [alias.choices for alias in aliases if isinstance(alias, pydantic.AliasChoices)]
    bare = {str(choice) for group in choices for choice in group}
    return bare | {f"COMFYLABEL_{name.upper()}" for name in Settings.model_fields}


def listen(settings: Settings) -> tuple[socket.socket, Settings]:
    """A socket bound to host and port, and the settings with the port that it got and the address to reach it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsUnusableError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}). Choose another --port."
        ) from error
    port = listener.getsockname()[1]
    found: dict[str, Any] = {"port": port}
    if settings.public_url is None and _is_wildcard(settings.host):
        found["public_url"] = f"http://{_address_of_this_machine()}:{port}"
    return listener, settings.model_copy(update=found)


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _address_of_this_machine() -> str:
    """The one that other machines use: that of the route to the outside. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of TEST-NET-1
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
