"""Takes the port before anything else, so that a server that cannot start says so at once."""

import errno
import os
import socket


class CannotServe(RuntimeError):
    """The server cannot start; one sentence says why and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        CannotServe: The port is taken or not allowed, or there is no such address.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)
    except socket.gaierror:
        raise CannotServe(f"There is no address {host!r} to listen on.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"Port {port} is in use; choose another with --port, or a free one with --port 0."
        elif error.errno in {errno.EACCES, errno.EADDRNOTAVAIL}:
            why = f"{host}:{port} may not be listened on: {os.strerror(error.errno)}."
        else:
            why = f"{host}:{port} cannot be listened on: {error}."
        raise CannotServe(why) from None
    return sock
