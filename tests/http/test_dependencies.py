"""What FastAPI would run in another thread, for each request that needs it."""

import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from comfylabel.main import ROUTERS


def below(dependant: Dependant) -> Iterator[Dependant]:
    for one in dependant.dependencies:
        yield one
        yield from below(one)


def test_no_dependency_of_a_route_is_a_plain_function():
    """Going to a thread and back is 0.1 ms of every request, to read one attribute."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    calls = {one.call for route in routes for one in below(route.dependant)}
    plain = [
        call
        for call in calls
        if not inspect.iscoroutinefunction(call) and not inspect.iscoroutinefunction(type(call).__call__)
    ]
    assert routes
    assert plain == []
