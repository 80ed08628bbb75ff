"""What a request may be before anything of it is understood: token, size and time. An ASGI middleware."""

import asyncio
import contextlib
import hmac
import json

OPEN = ("/health",)  # without a token: what watches the service need not know it


class Limits:
    """Refuses requests without the token, and bodies that are too large or come too slowly.

    A body is read whole before the application sees it. The bytes of all bodies together are bounded too, so
    that many clients at once cannot fill the memory.

    Args: app: an ASGI application; token: what `Authorization: Bearer TOKEN` must say, or None; max_bytes: of
      a body; all_bytes: of all bodies at a time; seconds: that a body may take.
    """

    def __init__(self, app, token: str | None, max_bytes: int, all_bytes: int, seconds: float):
        self._app, self._token = app, token
        self._max_bytes, self._all_bytes, self._seconds = max_bytes, all_bytes, seconds
        self._held = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def refuse(status, detail):
            # The answer goes out at once, but many clients send all they have before they listen: what comes
            # is read and dropped, for a while. Who asks first is not told to go on.
            asks = headers.get(b"expect", b"").lower() == b"100-continue"
            await _refuse(send, status, detail, more=not asks)
            if not asks:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        while (await receive()).get("more_body"):
                            pass
                await send({"type": "http.response.body", "body": b""})

        if self._token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return await refuse(401, "the header Authorization must say: Bearer TOKEN")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_bytes:
            return await refuse(413, self._too_large())
        held = 0
        try:
            chunks = []
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        message = await receive()
                except TimeoutError:
                    return await _refuse(send, 408, f"the body took more than {self._seconds:g} s")
                if message["type"] == "http.disconnect":
                    return None
                chunk = message.get("body", b"")
                held += len(chunk)
                self._held += len(chunk)
                status, detail = self._trouble(held)
                if status:
                    chunks.clear()
                    self._held, held = self._held - held, 0
                    last = not message.get("more_body")
                    return await (_refuse(send, status, detail) if last else refuse(status, detail))
                chunks.append(chunk)
                if not message.get("more_body"):
                    break
            body = {"type": "http.request", "body": b"".join(chunks), "more_body": False}
            del chunks
            whole = [body]

            async def given_body():
                return whole.pop() if whole else await receive()

            return await self._app(scope, given_body, send)
        finally:
            self._held -= held

    def _trouble(self, held: int) -> tuple[int, str]:
        """(status, detail) of a body of which so many bytes are held; (0, "") where it may go on."""
        if held > self._max_bytes:
            return 413, self._too_large()
        if self._held > self._all_bytes:
            return 429, "too many large requests at once; try again"
        return 0, ""

    def _too_large(self) -> str:
        return f"a request may have {self._max_bytes} bytes at most"


async def _refuse(send, status: int, detail: str, more: bool = False):
    """Answers and closes the connection; more: not yet, an empty message will end the answer."""
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    if status == 429:
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})
