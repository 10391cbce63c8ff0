"""Makes a package from which anything can be imported and nothing used: ComfyUI imports torchvision and torchaudio at
start, their wheels do not fit a CPU build of torch 2.13, and no node of the tests calls them.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any, NoReturn


class Missing:
    """Stands for a class; making one fails."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("import-only stub: not available in this installation")

    def __class_getitem__(cls, _: Any) -> type:
        return cls


class StubModule(types.ModuleType):
    __path__ = []  # noqa: RUF012 - typeshed has it on the instance; every stub is a package with any submodule

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value: Any
        if name[:1].isupper():
            members = {"NEAREST": 0, "LANCZOS": 1, "BILINEAR": 2, "BICUBIC": 3}
            value = type(name, (Missing,), members)
        else:

            def value(*_: Any, **__: Any) -> NoReturn:
                raise RuntimeError(f"import-only stub: {self.__name__}.{name} is not available")

        setattr(self, name, value)
        return value


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if fullname.startswith(f"{self.package}."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StubModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


def install(package: str) -> None:
    """To be called by the package itself while it is imported."""
    sys.meta_path.append(Finder(package))
    sys.modules[package].__class__ = StubModule
    sys.modules[package].__version__ = "0.0.0+stub"  # type: ignore[attr-defined]  # a module takes any attribute
