import socket
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.errors import InvalidField
from comfylabel.workers.base_url import check_addresses, host_and_port, is_trusted_as, normal_base_url, why_forbidden
from comfylabel.workers.resolver import GuardedResolver

METADATA = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"]
FORBIDDEN = [*METADATA, "169.254.0.1", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"]
WHERE_GPUS_LIVE = ["127.0.0.1", "::1", "10.0.0.7", "172.16.3.4", "192.168.1.20", "100.64.0.5", "fd12::7", "8.8.8.8"]


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("http://10.0.0.7:8188", "http://10.0.0.7:8188"),
        ("  HTTP://GPU-1.Local:8188/ ", "http://gpu-1.local:8188"),
        ("https://proxy.example/comfy/a/", "https://proxy.example/comfy/a"),
        ("https://proxy.example:443/Comfy//", "https://proxy.example/Comfy"),
        ("http://[::1]:8188/", "http://[::1]:8188"),
        ("http://gpu_1:80", "http://gpu_1"),
    ],
)
def test_the_path_is_kept_and_the_slash_at_its_end_is_not(given_url: str, normal: str):
    assert normal_base_url(given_url) == normal


@pytest.mark.parametrize(
    ("given_url", "why"),
    [
        ("", "must begin with"),
        ("gpu-1:8188", "must begin with"),
        ("ftp://gpu-1", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("http://", "must name a host"),
        ("http://:8188", "must name a host"),
        ("http://user@gpu-1", "user name or password"),
        ("http://user:pass@gpu-1", "user name or password"),
        ("http://@gpu-1", "user name or password"),
        ("http://gpu-1?x=1", "must not hold a ?"),
        ("http://gpu-1/#x", "must not hold a ?"),
        ("http://gpu-1:0", "port 0"),
        ("http://gpu-1:99999", "is not an address"),
        ("http://gpu-1:port", "is not an address"),
        ("http://[::1", "is not an address"),
        ("http://gpu 1", "holds a character"),
        ("http://gpu-1\n.example", "holds a character"),
        ("http://gpu-1\\@169.254.169.254", "holds a character"),
        ("http://169。254。169。254", "in ASCII"),
        ("http://%31%36%39.254.169.254", "in ASCII"),
        ("http://[fe80::1%25eth0]", "must name a host"),
    ],
)
def test_what_is_no_address_of_a_worker_is_refused_in_words(given_url: str, why: str):
    with pytest.raises(InvalidField, match=f"base_url .*{why}"):
        normal_base_url(given_url)


@given(st.text(max_size=60) | st.text(max_size=60).map("http://".__add__))
def test_any_text_is_either_refused_or_normal_for_good(text: str):
    try:
        normal = normal_base_url(text)
    except InvalidField:
        return
    assert normal_base_url(normal) == normal
    assert not normal.endswith("/")


@pytest.mark.parametrize("address", FORBIDDEN)
def test_nothing_is_sent_where_no_gpu_lives(address: str):
    assert why_forbidden(address)
    with pytest.raises(InvalidField, match="base_url leads to"):
        check_addresses("http://gpu-1:8188", ["10.0.0.7", address], own_port=None, own_addresses=[])


@pytest.mark.parametrize("address", WHERE_GPUS_LIVE)
def test_private_and_loopback_addresses_are_where_gpus_live(address: str):
    assert why_forbidden(address) is None
    check_addresses("http://gpu-1:8188", [address], own_port=8765, own_addresses=["10.0.0.7", "::1"])


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_however_it_is_wrapped(address):
    mapped = f"::ffff:{address}"
    translated = [
        str(IPv6Address(int(IPv6Address(prefix)) | int(address)))
        for prefix in ("64:ff9b::", "64:ff9b:1::", "64:ff9b:1:2::", "::ffff:0:0:0")
    ]

    for wrapped in (mapped, *translated):
        assert why_forbidden(wrapped) == why_forbidden(str(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.5.5.5", "::1", "10.0.0.7", "::ffff:10.0.0.7", "fe80::1%eth0"])
def test_a_worker_cannot_be_this_server_itself(address: str):
    with pytest.raises(InvalidField, match=r"this server|link-local"):
        check_addresses(
            "http://gpu-1:8765", [address], own_port=8765, own_addresses=["127.0.0.1", "10.0.0.7", "fe80::1%eth0"]
        )


def test_another_port_of_this_machine_is_a_worker():
    check_addresses("http://localhost:8188", ["127.0.0.1"], own_port=8765, own_addresses=["127.0.0.1"])


def test_default_ports():
    assert host_and_port("https://gpu-1/comfy") == ("gpu-1", 443)
    assert host_and_port("http://[::1]") == ("::1", 80)


@pytest.mark.parametrize(
    ("after", "trusted"),
    [
        ("https://gpu:8188/behind", True),
        ("http://gpu:8188", False),  # everybody on the way would read the key
        ("https://gpu:8189", False),
        ("https://gpu2:8188", False),
    ],
)
def test_secrets_stay_with_their_server_and_in_the_dark(after: str, trusted: bool):
    assert is_trusted_as("https://gpu:8188", after) is trusted


def test_what_becomes_hidden_may_stay():
    assert is_trusted_as("http://gpu:8188", "https://gpu:8188")


@pytest.mark.parametrize("written", ["2852039166", "0xA9FEA9FE", "169.16689662", "0251.0376.0251.0376"])
async def test_a_name_is_judged_by_where_it_leads_when_it_is_used(written: str):
    """The C library reads each of these as 169.254.169.254."""
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(written, 80)}
    assert found == {"169.254.169.254"}

    with pytest.raises(OSError, match="nothing is sent"):
        await GuardedResolver().resolve(written, 80)


async def test_names_of_workers_are_found():
    found = await GuardedResolver().resolve("localhost", 80)

    assert all(ip_address(result["host"]).is_loopback for result in found)
