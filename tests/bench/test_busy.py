"""How the bench says which share of its time a worker was at work."""

import pytest

from bench.busy import busy_share


def test_a_worker_that_never_waits_is_busy_all_the_time():
    assert busy_share([[(0, 1), (1, 2), (2, 3)]], 0, 3) == 1


def test_the_time_between_two_jobs_is_lost():
    assert busy_share([[(0, 1), (1.5, 2.5)]], 0, 2.5) == pytest.approx(0.8)


def test_a_worker_that_gets_nothing_counts():
    assert busy_share([[(0, 10)], []], 0, 10) == 0.5


def test_what_lies_outside_of_the_stretch_does_not_count():
    assert busy_share([[(-5, 2), (8, 20)]], 0, 10) == pytest.approx(0.4)
