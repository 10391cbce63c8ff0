import pytest

from comfylabel.main import OpenDoor, create_app
from tests.support.app import settings_for


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "10.0.0.3"},
        {"host": "gpu-box"},
        {"host": "127.0.0.1", "public_url": "https://label.example"},
    ],
)
def test_auth_off_opens_no_door_to_others(tmp_path, changes: dict[str, str]):
    with pytest.raises(OpenDoor, match="loopback"):
        create_app(settings_for(tmp_path, auth="off", **changes), database_url="")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_auth_off_is_fine_on_this_machine(tmp_path, host: str):
    assert create_app(settings_for(tmp_path, auth="off", host=host), database_url="")
