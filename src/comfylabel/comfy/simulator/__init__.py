"""A ComfyUI worker without a GPU, for tests, the demo and benchmarks."""

from comfylabel.comfy.simulator.faults import Faults, parse_faults
from comfylabel.comfy.simulator.server import Simulator, running_simulator
from comfylabel.comfy.simulator.submission_log import LoggedImage, LoggedSubmission

__all__ = ["Faults", "LoggedImage", "LoggedSubmission", "Simulator", "parse_faults", "running_simulator"]
