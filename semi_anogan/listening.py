"""Listening at an address of this machine, and serving an application there until it is asked to end."""

import signal
import socket

from semi_anogan.errors import RunError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: a free one.

    Made before anything is loaded, so that a port in use is told at once. Raises: RunError naming both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:  # of a port, of a name
        told = getattr(error, "strerror", None) or error
        raise RunError(f"--host={host} --port={port}: cannot be listened at: {told}") from error


def address(listening: socket.socket, host: str) -> str:
    """http://HOST:PORT of a socket, as `host` was given."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def serve(app, listening: socket.socket, **options):
    """Serves an ASGI application with uvicorn and its options, until Ctrl-C or SIGTERM."""
    import uvicorn

    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal that ended it once more, when all is done: that is no reason to fail.
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(app, log_level="warning", server_header=False, **options)
    uvicorn.Server(config).run([listening])
