"""What an address may hold, what of it may be shown, and where it leads: git and logs keep what they get for ever."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import parse_qsl, urlsplit

IP = IPv4Address | IPv6Address

# Addresses that end with one of IPv4, which they lead to: IPv4-compatible ones, and those of NAT64 (RFC 6052).
_END_IN_IPV4 = (ip_network("::/96"), ip_network("64:ff9b::/96"))

_SECRET = re.compile(r"passw|pwd|secret|token|credential|signature|^sig$|api_?key|access_?key", re.IGNORECASE)


def holds_a_secret(address: str) -> bool:
    """Tell whether a password, a token or a signature stands in an address, or what looks like one."""
    try:
        parts = urlsplit(address)
    except ValueError:  # a malformed host, whose parts are not known
        return "@" in address
    if parts.password is not None or any(is_secret(key) for key, _ in parse_qsl(parts.query)):
        return True
    return parts.scheme in ("http", "https") and parts.username is not None  # a token stands there


def is_secret(name: str) -> bool:
    """Tell whether a parameter or a property of this name is one that keeps a secret."""
    return bool(_SECRET.search(name))


def shown(address: str) -> str:
    """Return an address without user, password, token and query, fit for a message."""
    return re.sub(r"//.*@", "//", address).partition("?")[0]


def normal(address: str) -> str:
    """Return an address without white space around it, and with its scheme in small letters, as libraries take it."""
    scheme, separator, rest = address.strip().partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator else scheme


def host_of(address: str) -> str:
    """Return the host of an address in small letters, without brackets; "" where there is none."""
    try:
        return urlsplit(normal(address)).hostname or ""
    except ValueError:  # a malformed host, which nothing can be connected to
        return ""


def ip_of(host: str) -> IP | None:
    """Return the IP address that a host is written as, also as a hexadecimal or a single number; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return ip_address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_public(address: IP) -> bool:
    """Tell whether an address is one of the internet: not of this machine, a private network, a link or a group."""
    address = _reached(address)
    return address.is_global and not address.is_multicast


def is_of_the_link(address: IP) -> bool:
    """Tell whether an address is of the link alone, where a cloud tells its machines their credentials."""
    return _reached(address).is_link_local


def _reached(address: IP) -> IP:
    """Return the address of IPv4 that one of IPv6 leads to, else the address itself."""
    if not isinstance(address, IPv6Address):
        return address
    if any(address in network for network in _END_IN_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
