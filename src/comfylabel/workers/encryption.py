"""Workers' API keys and headers at rest: whoever copies the database without the secret key reads none."""

import base64
import hmac

from cryptography.fernet import Fernet, InvalidToken

from comfylabel.comfy.errors import WorkerUnreachable


class ApiKeyUnreadable(WorkerUnreachable):
    """The stored API key or headers were encrypted under another secret key; enter them again."""

    code = "api_key_unreadable"


class Vault:
    def __init__(self, secret: bytes) -> None:
        # A key of its own: nothing else that the installation's secret is used for can open the vault.
        key = hmac.digest(secret, b"comfylabel worker api keys", "sha256")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        try:
            return self._fernet.decrypt(encrypted).decode()
        except InvalidToken:
            raise ApiKeyUnreadable from None
