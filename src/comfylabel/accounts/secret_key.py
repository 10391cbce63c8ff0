"""The installation's secret: it signs image addresses and encrypts workers' API keys."""

import os
import secrets
from pathlib import Path

from comfylabel.errors import ComfyLabelError

FILE_NAME = "secret.key"
_MIN_LENGTH = 16


class SecretKeyUnusable(ComfyLabelError):
    """The secret key cannot be read."""

    code = "secret_key_unusable"


def secret_key(configured: str | None, data_dir: Path) -> bytes:
    """The configured key, else the one kept in `data_dir`, made on first use (mode 0600)."""
    if configured is not None:
        return _checked(configured, "COMFYLABEL_SECRET_KEY")
    path = data_dir.expanduser() / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    _create_once(path)
    return _checked(path.read_text().strip(), str(path))


def _create_once(path: Path) -> None:
    """Two processes starting together end with one key: the file appears whole, and only the first one's."""
    if path.exists():
        return
    draft = path.with_name(f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _checked(key: str, source: str) -> bytes:
    if len(key) < _MIN_LENGTH:
        raise SecretKeyUnusable(f"The secret key in {source} is shorter than {_MIN_LENGTH} characters.")
    return key.encode()
