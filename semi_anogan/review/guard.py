"""Who may ask: only a browser that was given the token, or one of this machine. An ASGI middleware."""

import hmac
import http.cookies
import json
import urllib.parse

COOKIE = "semi_anogan_review"  # with the port: a browser has one for all ports of a machine
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuses requests without the token, of other sites' pages, and bodies that are too large.

    The token comes once in the address, `/?token=TOKEN`, and is then kept as a cookie. Without a token the
    request must name this machine as its host: else a page of another site could ask by a name of its own.

    Args: app: an ASGI application; token: or None; max_bytes: of a body.
    """

    def __init__(self, app, token: str | None, max_bytes: int):
        self._app, self._token, self._max_bytes = app, token, max_bytes

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self._token is None and _name_of(host) not in LOOPBACK:
            return await _answer(send, 403, f"the host {host!r} is not this machine")
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get(b"origin")
            if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
                return await _answer(send, 403, f"a page of {origin} may change nothing here")
        if self._token is not None:
            query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
            given = query.get("token", [""])[0]
            if scope["path"] == "/" and given and self._is_token(given):
                cookie = f"{_name_of_cookie(host)}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                more = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
                return await _answer(send, 303, "the token is kept", more)
            if not self._is_token(_cookie(headers.get(b"cookie", ""), _name_of_cookie(host))):
                return await _answer(send, 401, "open the address with ?token=TOKEN that the command printed")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self._max_bytes or b"transfer-encoding" in headers:
            return await _answer(send, 413, f"a request may have {self._max_bytes} bytes at most")

        async def sending(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        return await self._app(scope, receive, sending)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _name_of(host: str) -> str:
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _name_of_cookie(host: str) -> str:
    port = host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isascii() and port.isdigit() else COOKIE


def _cookie(text: str, name: str) -> str:
    try:
        found = http.cookies.SimpleCookie(text).get(name)
    except http.cookies.CookieError:
        return ""
    return found.value if found else ""


async def _answer(send, status: int, detail: str, more=()):
    headers = [(b"content-type", b"application/json"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
