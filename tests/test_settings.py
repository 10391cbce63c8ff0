import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from comfylabel.settings import Settings


def test_where_images_may_come_from():
    settings = Settings(cdn_url="https://CDN.example/", cdn_alternatives=" https://b.example:8443/  http://[::1]:9 ")
    assert settings.cdn_url == "https://cdn.example"
    assert settings.image_origins == ("https://cdn.example", "https://b.example:8443", "http://[::1]:9")
    assert Settings(cdn_alternatives="https://a.example https://a.example/").image_origins == ("https://a.example",)
    assert Settings(cdn_url="").image_origins == ()


@pytest.mark.parametrize("name", ["cdn_url", "cdn_alternatives"])
@pytest.mark.parametrize(
    "value",
    ["cdn.example", "ftp://cdn.example", "https://", "https://cdn.example/images", "https://a.example;", "*", "data:"],
)
def test_what_is_no_origin_is_refused(name: str, value: str):
    with pytest.raises(ValidationError, match="is no origin"):
        Settings.model_validate({name: value})


def test_the_cdn_is_one():
    with pytest.raises(ValidationError):
        Settings(cdn_url="https://a.example https://b.example")


@given(st.text("htps:/.a1;' *,\n", max_size=30))
def test_nothing_that_ends_a_directive_gets_into_the_policy(value: str):
    try:
        origins = Settings(cdn_alternatives=value).image_origins
    except ValidationError:
        return
    assert not any(set(origin) & set(";,'* \n") for origin in origins)
