from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.http.origins import SAFE_METHODS, host_is_loopback, host_is_ours, host_of, is_cross_site

labels = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
OWN = ("http://127.0.0.1:8765",)


@given(names, st.integers(1, 65535))
def test_a_name_is_ours_exactly_when_we_said_so(name: str, port: int):
    ours = {"label.example"}

    expected = name in ours or name == "localhost" or name.endswith(".localhost")

    assert host_is_ours(f"{name}:{port}", ours) is expected
    assert host_is_ours(f"{name.upper()}.:{port}", ours) is expected


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_cannot_be_rebound(address, port: int):
    written = f"[{address}]" if address.version == 6 else str(address)

    assert host_is_ours(f"{written}:{port}", set())
    assert host_of(f"{written}:{port}") == str(address)


@pytest.mark.parametrize(
    "header",
    [
        *("127.0.0.1:x@evil.example", "127.0.0.1:80/evil", "127.0.0.1:80@evil.example", "[::1]evil.example"),
        *("[::1]@evil.example", "127.0.0.1:8080>;rel=x,<http://evil.example", "127.0.0.1:' *;script-src *"),
        *("127.0.0.1:80:80", "[127.0.0.1", "localhost/evil", "localhost:1 ,x", "[fe80::1%25eth0]"),
    ],
)
def test_what_follows_a_good_host_is_looked_at_too(header: str):
    """Such a header would lead the images of a page, and their signatures, to somebody else."""
    assert not host_is_ours(header, {"label.example"})


@given(st.sampled_from(["127.0.0.1", "[::1]", "localhost", "label.example"]), st.text(max_size=20))
def test_a_host_that_is_ours_makes_an_address_of_its_own(host: str, rest: str):
    """Law: whatever header passes, the address made of it leads to the host that was checked."""
    header = (host + rest).strip(" \t")  # as HTTP parsers hand it over
    if host_is_ours(header, {"label.example"}):
        assert urlsplit(f"http://{header}/images/x").hostname in {host_of(header), host_of(header) + "."}


@given(st.text(max_size=30))
def test_no_header_whatever_raises(header: str):
    assert isinstance(host_is_ours(header, {"a"}), bool)


@given(
    st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    st.none() | st.sampled_from([*OWN, "null", "http://evil.example", "https://127.0.0.1:8765"]),
    st.none() | st.sampled_from(["same-origin", "same-site", "cross-site", "none"]),
)
def test_what_changes_something_with_a_session_comes_from_our_own_page(method, origin, fetch_site):
    """Law: with a session, a request passes only if the browser itself says that our page made it."""
    refused = is_cross_site(method, origin=origin, fetch_site=fetch_site, own_origins=OWN, has_session=True)

    from_our_page = origin in OWN or (origin is None and fetch_site == "same-origin")
    assert refused is not from_our_page


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_reading_is_free_for_all(method: str):
    assert not is_cross_site(method, origin="http://evil", fetch_site="cross-site", own_origins=OWN, has_session=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "::", "label.example", "")),
    ],
)
def test_loopback(host: str, loopback: bool):
    assert host_is_loopback(host) is loopback
