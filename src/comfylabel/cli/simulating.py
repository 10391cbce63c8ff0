"""`comfylabel simulate-worker`: one ComfyUI without a GPU, until it is told to stop."""

import asyncio
from pathlib import Path

from comfylabel.comfy.simulator import parse_faults, running_simulator
from comfylabel.errors import InvalidField


async def simulate_worker(
    *, host: str, port: int, job_seconds: float, vram_gb: float, faults: str, log: Path | None
) -> None:
    try:
        parsed = parse_faults(faults)
    except ValueError as error:
        raise InvalidField("--faults", f"cannot be used: {error}") from error
    async with running_simulator(
        host=host, port=port, job_seconds=job_seconds, vram_gb=vram_gb, faults=parsed, log_file=log
    ) as simulator:
        print(f"Simulated ComfyUI (no GPU) at {simulator.url}", flush=True)  # noqa: T201 - what the command is for
        await asyncio.Event().wait()
