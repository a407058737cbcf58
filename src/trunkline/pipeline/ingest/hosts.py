"""What is behind the hosts that conf/data names: nothing of this machine or a private network, unless it says so."""

import socket
from collections.abc import Collection
from ipaddress import ip_address

from trunkline.conf.data.sources import private
from trunkline.core.addresses import is_public
from trunkline.core.errors import OutsideError, UserError


def resolved(key: str, host: str, private_hosts: Collection[str]) -> tuple[str, ...]:
    """Return the IP addresses of a host.

    Raises OutsideError for a host that has none, UserError where one of them is not public and the host is not among
    those that may have such.
    """
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutsideError(f"{key}: this machine knows no host {host}; is the address right?") from None
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
    for address in addresses:
        verify(key, host, address, private_hosts)
    return addresses


def verify(key: str, host: str, address: str, private_hosts: Collection[str]) -> None:
    """Raise UserError for an IP address that is not public, unless its host is among those that may have such."""
    if host.lower() not in private_hosts and not is_public(ip_address(address)):
        raise UserError(f"{key}: {private(host)}")
