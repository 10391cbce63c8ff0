"""The canonical document of a frozen task, and its digests. Pure.

    {"prompts":[{"id":..,"seeds":[..],"text":..,"variables":{..}},...],"task":{..what frozen_snapshot holds..}}

Canonical: UTF-8 JSON, keys sorted, no white space, prompts and seeds in their order. The document is put together
piece by piece, so that its size does not matter; `digest` is the SHA-256 of all its bytes, as `sha256:<hex>`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from comfylabel.tasks.schemas import Prompt

HEAD = b'{"prompts":['


def canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def entry(prompt: Prompt) -> bytes:
    return canonical(
        {
            "id": str(prompt.id),
            "seeds": [seed.value for seed in prompt.seeds],
            "text": prompt.text,
            "variables": prompt.variables,
        }
    )


def tail(frozen: Mapping[str, Any]) -> bytes:
    """`frozen`: what tasks.frozen_snapshot holds."""
    return b'],"task":' + canonical(frozen) + b"}"


class DocumentDigest:
    """Fed with the prompts in order; knows the digest of their texts, of their seeds, and of the whole document."""

    def __init__(self) -> None:
        self.prompts = 0
        self.seeds = 0
        self._document = hashlib.sha256(HEAD)
        self._texts = hashlib.sha256()
        self._seed_lists = hashlib.sha256()

    def add(self, prompt: Prompt) -> None:
        self._document.update(b"," + entry(prompt) if self.prompts else entry(prompt))
        text = {"id": str(prompt.id), "text": prompt.text, "variables": prompt.variables}
        self._texts.update(canonical(text) + b"\n")
        self._seed_lists.update(canonical([seed.value for seed in prompt.seeds]) + b"\n")
        self.prompts += 1
        self.seeds += len(prompt.seeds)

    @property
    def digests(self) -> dict[str, str]:
        """Over one line a prompt: `{"id","text","variables"}`, and the list of its seeds."""
        return {"prompts_sha256": self._texts.hexdigest(), "seeds_sha256": self._seed_lists.hexdigest()}

    def whole(self, frozen: Mapping[str, Any]) -> str:
        """The document's digest, once `frozen` ends it."""
        document = self._document.copy()
        document.update(tail(frozen))
        return f"sha256:{document.hexdigest()}"
