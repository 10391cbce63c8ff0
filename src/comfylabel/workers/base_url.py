"""Which addresses a worker may have. GPUs live on private and loopback addresses, so these are fine.

Refused is what no GPU lives at and our requests could harm: link-local, cloud metadata, this server itself.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from comfylabel.errors import InvalidField

Address = IPv4Address | IPv6Address

# Clouds answer machine credentials here; 169.254.169.254 is link-local and refused with its whole network.
_METADATA = tuple(
    ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # Amazon over IPv6
        "fd20:ce::254/128",  # Google over IPv6
    )
)
_HOST_NAME = re.compile(r"[a-z0-9._-]+")
# Gateways send what comes to these to the IPv4 address in the last 32 bits.
_TRANSLATED = (
    ip_network("64:ff9b::/96"),  # NAT64
    ip_network("64:ff9b:1::/48"),  # NAT64 within one network, RFC 8215
    ip_network("::ffff:0:0:0/96"),  # SIIT
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_base_url(text: str) -> str:
    """Lower-case scheme and host, the path kept, no slash at its end; InvalidField for anything else."""
    text = text.strip()
    if any(character in "\\ " or not character.isprintable() for character in text):
        raise _refused("holds a character that no address has")
    url = _split(text)
    if url.scheme not in _DEFAULT_PORTS:
        raise _refused("must begin with http:// or https://")
    if not url.hostname:
        raise _refused("must name a host, as in http://10.0.0.7:8188")
    if url.username is not None or url.password is not None:
        raise _refused("must not hold a user name or password: use api_key")
    if url.query or url.fragment:
        raise _refused("must not hold a ? or a #")
    if url.port == 0:
        raise _refused("must not have port 0")
    host = _host(url.hostname)
    port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}"


def host_and_port(base_url: str) -> tuple[str, int]:
    url = urlsplit(base_url)
    assert url.hostname is not None
    return url.hostname, url.port or _DEFAULT_PORTS[url.scheme]


def is_trusted_as(before: str, after: str) -> bool:
    """Whether what was sent to one address may be sent to the other: the same server, and no less hidden on the way."""
    downgraded = before.startswith("https:") and not after.startswith("https:")
    return host_and_port(before) == host_and_port(after) and not downgraded


def why_forbidden(address: str) -> str | None:
    """Why nothing may be sent to this IP address, in words that continue "is"; None when it may."""
    ip = _unwrapped(ip_address(address.split("%", maxsplit=1)[0]))
    if ip.is_link_local or any(ip in network for network in _METADATA if network.version == ip.version):
        return "a link-local or cloud metadata address"
    if ip.is_unspecified:
        return "no address to connect to"
    if ip.is_multicast or ip == IPv4Address("255.255.255.255"):
        return "a multicast or broadcast address"
    return None


def check_addresses(
    base_url: str, resolved: Iterable[str], *, own_port: int | None, own_addresses: Iterable[str]
) -> None:
    """`resolved`: every IP address that the host stands for, `own_addresses` those of this machine."""
    host, port = host_and_port(base_url)
    ours = {_unwrapped(ip_address(address.split("%", maxsplit=1)[0])) for address in own_addresses}
    for address in resolved:
        why = why_forbidden(address)
        if why is not None:
            raise _refused(f"leads to {address}, {why}" if address != host else f"is {why}")
        ip = _unwrapped(ip_address(address.split("%", maxsplit=1)[0]))
        if port == own_port and (ip.is_loopback or ip in ours):
            raise _refused("is the address of this server, not of a ComfyUI worker")


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise _refused("is not an address as in http://10.0.0.7:8188") from None
    return url


def _host(hostname: str) -> str:
    """As it stands in a URL. Plain letters only: other ones are read differently by every library."""
    if ":" in hostname:
        if not _is_ipv6(hostname):
            raise _refused("must name a host, as in http://10.0.0.7:8188")
        return f"[{hostname}]"
    if not _HOST_NAME.fullmatch(hostname):
        raise _refused("must name its host in ASCII letters, digits, dots and hyphens")
    return hostname


def _is_ipv6(hostname: str) -> bool:
    try:
        return IPv6Address(hostname).scope_id is None
    except ValueError:
        return False


def _unwrapped(ip: Address) -> Address:
    """The IPv4 address inside an IPv6 one: the kernel or a gateway takes it out again."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip.sixtofour is not None:
            return ip.sixtofour
        if any(ip in network for network in _TRANSLATED):
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _refused(error: str) -> InvalidField:
    return InvalidField("base_url", error)
