"""Prints how many conformance cases passed on the simulator and on a genuine ComfyUI."""

import pytest

FOLDER = "tests/conformance/"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = _node_ids(terminalreporter, "passed")
    everywhere = passed | _node_ids(terminalreporter, "failed") | _node_ids(terminalreporter, "error")
    if everywhere:
        cases = {_case(node_id) for node_id in everywhere}
        simulator = sum("[simulator" in node_id for node_id in passed)
        real = sum("[real" in node_id for node_id in passed)
        terminalreporter.write_line(
            f"conformance: {len(cases)} cases, simulator {simulator} passed, real {real} passed"
        )


def _node_ids(terminalreporter: pytest.TerminalReporter, outcome: str) -> set[str]:
    reports = terminalreporter.stats.get(outcome, [])
    return {report.nodeid for report in reports if report.nodeid.startswith(FOLDER)}


def _case(node_id: str) -> str:
    return node_id.replace("[simulator", "[").replace("[real", "[")
