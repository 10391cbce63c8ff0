"""Where the text of the positive prompt stands in a graph. Pure.

From the samplers back along the positive conditioning to what encodes text, and from there along the links that
carry text to the inputs where it is written. A negative is never on that way.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from comfylabel.comfy.graph import InputRef, Link, as_link
from comfylabel.workflows.wiring import Wiring

_POSITIVE_NAMES = ("positive", "cond1", "conditioning", "cond")
_NOT_POSITIVE = re.compile(r"neg|uncond|empty|cond2", re.IGNORECASE)
# Nodes that leave nothing of the text they are given.
_ERASERS = frozenset({"ConditioningZeroOut"})

_TEXT_NAMES = frozenset({
    "text", "prompt", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "bert", "mt5xl",
    "qwen25_7b", "user_prompt", "positive", "positive_prompt", "value", "string",
})  # fmt: skip
_NOT_PROMPT = re.compile(r"neg|system|template|lora|style", re.IGNORECASE)
# The text that these hand on or rewrite; other inputs of theirs are patterns, keys and counts.
_TEXT_THROUGH = {
    "StringConcatenate": ("string_a", "string_b"),
    "StringSubstring": ("string",), "StringTrim": ("string",), "CaseConverter": ("string",),
    "RegexReplace": ("string",), "RegexExtract": ("string",), "JsonExtractString": ("json_string",),
    "TextGenerate": ("prompt",), "TextGenerateLTX2Prompt": ("prompt",), "PreviewAny": ("source",),
    "StringReplace": ("string",), "StringFormat": ("f_string",), "CustomCombo": (),
}  # fmt: skip
# Text nodes in a row that are followed; nobody wires more.
_DEEPEST_TEXT = 100
# Instructions to a language model that stand beside a prompt: "You are an assistant designed to ...".
_INSTRUCTION = re.compile(r"\s*(<[^<>]{1,30}>\s*)*(you are (an?|the)\b|\[system|system\b|\[meta\])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """An input that holds a text of the prompt: of the node that encodes it, or of one that leads there."""

    ref: InputRef
    text: str
    at_encoder: bool
    own_node: bool  # the node is there only to hold the text


def prompt_texts(wiring: Wiring, samplers: Iterable[str]) -> list[Text]:
    """The texts of these samplers' positive conditionings, each once; empty ones only where no other is."""
    trace = _TextTrace(wiring)
    inputs = [each for sampler in samplers for each in _positive_inputs(wiring, sampler)]
    texts = dict.fromkeys(text for link in _encoders(wiring, inputs) for text in _of_encoder(trace, link))
    return [text for text in texts if text.text.strip()] or list(texts)


def _positive_inputs(wiring: Wiring, sampler: str) -> list[tuple[str, str]]:
    """Where a sampler, or its guider, takes its positive conditioning."""
    guider = wiring.link(sampler, "guider")
    node_id = guider.node if guider else sampler
    names = wiring.linked_of_type(node_id, "CONDITIONING")
    chosen = next((name for name in _POSITIVE_NAMES if name in names), None)
    wanted = [chosen] if chosen else [name for name in names if not _NOT_POSITIVE.search(name)]
    return [(node_id, name) for name in wanted]


def _encoders(wiring: Wiring, inputs: list[tuple[str, str]]) -> Iterator[Link]:
    """The outputs of text encoders that these conditioning inputs go back to."""
    seen: set[Link] = set()
    waiting = inputs[::-1]
    while waiting:
        link = wiring.link(*waiting.pop())
        if link is None or link in seen:
            continue
        seen.add(link)
        if wiring.class_of(link.node) in _ERASERS:
            continue
        onward = _carried_on(wiring, link, wiring.linked_of_type(link.node, "CONDITIONING"))
        if onward is None:
            yield link
        else:
            waiting += [(link.node, name) for name in reversed(onward)]


def _carried_on(wiring: Wiring, link: Link, given: list[str]) -> list[str] | None:
    """Of the conditionings a node is given, those that its output `link` hands on; None when it is given none."""
    if wiring.is_switch(link.node):  # only a run would show which branch it takes
        return list(wiring.branches(link.node))
    if not given:
        return None
    if {"positive", "negative"} & set(given):
        wanted = "negative" if _is_second_conditioning(wiring, link) else "positive"
        return [wanted] if wanted in given else []
    return given


def _is_second_conditioning(wiring: Wiring, link: Link) -> bool:
    """Whether a node that gives a positive and a negative gives the negative here."""
    types = wiring.output_types(link.node)
    slot = link.slot if link.slot >= 0 else len(types) + link.slot
    return types[:slot].count("CONDITIONING") > 0 if types else slot > 0


def _of_encoder(trace: "_TextTrace", link: Link) -> list[Text]:
    wiring = trace.wiring
    if _is_second_conditioning(wiring, link):
        return []
    names = [name for name in wiring.inputs_of(link.node) if _is_prompt_input(wiring, link.node, name)]
    texts = [text for name in names for text in trace.back_from(link.node, name)]
    return [text for text in texts if text.text.strip()] or texts


def _is_prompt_input(wiring: Wiring, node_id: str, name: str) -> bool:
    if _NOT_PROMPT.search(name) or wiring.type_of(node_id, name) != "STRING":
        return False
    spec = wiring.spec(node_id, name)
    return name in _TEXT_NAMES or bool(spec and spec.options.get("multiline"))


class _TextTrace:
    """The way back from an encoder's text input to where the text is written; each input is read once."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self._found: dict[tuple[str, str], list[Text]] = {}

    def back_from(self, node_id: str, name: str, depth: int = 0) -> list[Text]:
        key = (node_id, name)
        if key not in self._found:
            self._found[key] = []  # what a loop finds
            self._found[key] = self._written(node_id, name, depth)
        return self._found[key]

    def _written(self, node_id: str, name: str, depth: int) -> list[Text]:
        value = self.wiring.inputs_of(node_id).get(name)
        if isinstance(value, str):
            own_node = depth > 0 and self.wiring.class_of(node_id) not in _TEXT_THROUGH
            return [Text(InputRef(node_id, name), value, at_encoder=depth == 0, own_node=own_node)]
        link = as_link(value)
        if link is None or link.node not in self.wiring.graph or depth > _DEEPEST_TEXT:
            return []
        if self.wiring.is_switch(link.node):
            return self._of_switch(link.node, depth + 1)
        if self.wiring.class_of(link.node) == "StringReplace":
            return self._of_replacement(link.node, depth + 1)
        if self.wiring.class_of(link.node) == "StringFormat":
            return self._of_format(link.node, depth + 1)
        names = _TEXT_THROUGH.get(self.wiring.class_of(link.node))
        if names is None:
            names = _text_inputs(self.wiring, link.node)
        return _most_telling([text for each in names for text in self.back_from(link.node, each, depth + 1)])

    def _of_switch(self, node_id: str, depth: int) -> list[Text]:
        """Of a text and its rewriting, what both begin with is the prompt; else the branch that runs."""
        names = self.wiring.branches(node_id)
        on_false, on_true = (self.back_from(node_id, name, depth) for name in names)
        shared = [text for text in on_false if text in on_true]
        if shared:
            return shared
        chosen = self.wiring.chosen_branch(node_id)
        return _most_telling(on_false + on_true) if chosen is None else self.back_from(node_id, chosen, depth)

    def _of_replacement(self, node_id: str, depth: int) -> list[Text]:
        """`string` is a template for `replace` where that is linked to a text, else it is the text itself."""
        inputs = self.wiring.inputs_of(node_id)
        template = self.back_from(node_id, "string", depth)
        if as_link(inputs.get("replace")) is None:
            return template
        inserted = self.back_from(node_id, "replace", depth)
        if not inserted:
            return template
        source = as_link(inputs.get("string"))
        if source is None or self.wiring.class_of(source.node) != "StringReplace":
            template = []  # the frame that the prompt is set in
        return _most_telling([text for text in template if text.own_node] + inserted)

    def _of_format(self, node_id: str, depth: int) -> list[Text]:
        """`f_string` is a frame for the texts among its values, else it is the text itself."""
        linked = [name for name, value in self.wiring.inputs_of(node_id).items() if as_link(value) is not None]
        values = [name for name in linked if name != "f_string"]
        inserted = [text for name in values for text in self.back_from(node_id, name, depth)]
        return _most_telling(inserted) or self.back_from(node_id, "f_string", depth)


def _text_inputs(wiring: Wiring, node_id: str) -> tuple[str, ...]:
    """Of a node that nothing is known of: its linked texts, else those written in it."""
    names = [
        name
        for name in wiring.inputs_of(node_id)
        if not _NOT_PROMPT.search(name) and wiring.type_of(node_id, name) == "STRING"
    ]
    linked = [name for name in names if as_link(wiring.inputs_of(node_id)[name]) is not None]
    return tuple(linked or [name for name in names if _is_prompt_input(wiring, node_id, name)])


def _most_telling(texts: list[Text]) -> list[Text]:
    """Without fixed additions beside a text that has a node of its own, and without instructions to a model."""
    own = [text for text in texts if text.own_node] or texts
    plain = [text for text in own if not _INSTRUCTION.match(text.text)] or own
    return list(dict.fromkeys(plain))
