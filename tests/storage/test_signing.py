"""A signed address is a pure function of key, secret and window, and nothing in it can be changed."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comfylabel.storage.signing import GRACE_SECONDS, WINDOW_SECONDS, LinkExpired, LinkRefused, Signer

SIGNER = Signer(b"secret", "https://cdn.example.com/")
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
keys = st.text("abcdef0123456789/.", min_size=1)


def parts(url: str) -> tuple[str, str, str]:
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.removeprefix("/images/"), query["expires"][0], query["signature"][0]


def window(moment: datetime) -> int:
    return int(moment.timestamp()) // WINDOW_SECONDS


@given(keys, moments, moments)
def test_an_address_is_the_same_all_through_its_window_and_only_there(key: str, one: datetime, other: datetime):
    same = SIGNER.signed_url(key, one) == SIGNER.signed_url(key, other)
    assert same == (window(one) == window(other))


@given(keys, moments, st.integers(0, GRACE_SECONDS))
def test_an_address_lives_at_least_a_day_and_at_most_thirty_hours(key: str, made: datetime, seconds: int):
    key, expires, signature = parts(SIGNER.signed_url(key, made))
    assert SIGNER.verify(key, expires, signature, made + timedelta(seconds=seconds)) > 0
    assert 24 * 3600 <= SIGNER.verify(key, expires, signature, made) <= 30 * 3600
    with pytest.raises(LinkExpired):
        SIGNER.verify(key, expires, signature, made + timedelta(seconds=GRACE_SECONDS + WINDOW_SECONDS + 1))


@given(keys, moments, st.sampled_from(["key", "expires", "signature"]), st.text())
def test_whatever_is_changed_is_refused(key: str, made: datetime, part: str, other: str):
    given_parts = dict(zip(("key", "expires", "signature"), parts(SIGNER.signed_url(key, made)), strict=True))
    assume(given_parts[part] != other)
    with pytest.raises(LinkRefused):
        SIGNER.verify(**(given_parts | {part: other}), now=made)


@given(keys, moments)
def test_another_secret_signs_otherwise(key: str, made: datetime):
    key, expires, signature = parts(Signer(b"another", SIGNER.origin).signed_url(key, made))
    with pytest.raises(LinkRefused):
        SIGNER.verify(key, expires, signature, made)


@given(keys, moments, st.sampled_from(["https://a.example", "http://10.0.0.1:8765"]))
def test_an_address_under_another_origin_differs_in_nothing_else(key: str, made: datetime, origin: str):
    usual, other = SIGNER.signed_url(key, made), SIGNER.signed_url(key, made, origin=origin)
    assert other == usual.replace(SIGNER.origin, origin, 1)
    assert SIGNER.signed_url(key, made, origin=None) == usual


def test_the_address_stands_under_the_origin_of_the_cdn_or_of_the_request():
    assert SIGNER.signed_url("a").startswith("https://cdn.example.com/images/a?")
    assert (
        Signer(b"secret", lambda: "http://10.0.0.1:8765").signed_url("a").startswith("http://10.0.0.1:8765/images/a?")
    )
