"""`make bench [ONLY=name]`: runs the benches whose name begins so; each prints one JSON line and one sentence."""

import asyncio
import importlib
import os
import pkgutil
import sys
from pathlib import Path


def main() -> int:
    only = os.environ.get("ONLY", "")
    here = Path(__file__).parent
    names = sorted(module.name for module in pkgutil.iter_modules([str(here)]) if module.name.startswith("bench_"))
    chosen = [name for name in names if name.removeprefix("bench_").startswith(only)]
    if not chosen:
        known = ", ".join(name.removeprefix("bench_") for name in names)
        print(f"No bench begins with {only!r}; there are: {known}.", file=sys.stderr)
        return 2
    held = True
    for name in chosen:
        for figure in asyncio.run(importlib.import_module(f"bench.{name}").measure()):
            print(figure.line(), flush=True)
            print(f"  {figure.how}", flush=True)
            held = held and figure.holds
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
