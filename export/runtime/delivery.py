"""Tells another program of each image: by a webhook or MQTT, with what is not delivered kept on disk.

What is added is in a file before `add` returns, and leaves it when the other side has confirmed it. So
nothing is lost while that is away, or when this process ends. It may be told twice: each message has an `id`.
"""

import base64
import contextlib
import functools
import json
import os
import pathlib
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid

from semi_anogan.errors import ConfigError, RunError

SPOOL = "undelivered.sqlite3"
TOKEN = "SEMI_ANOGAN_NOTIFY_TOKEN"
SCHEMES = ("http", "https", "mqtt", "mqtts")
TIMEOUT = 10.0  # seconds, of one delivery
ANSWER = 1 << 16  # bytes that are read of an answer, which may have no end
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the next try, twice as long each time
NEVER = (400, 404, 405, 410, 411, 413, 414, 415, 422)  # answers that a second try would not change


class Refused(Exception):
    """The other side has answered that it does not take this message."""


class Spool:
    """Messages that wait to be delivered, in order, in a file.

    Raises: RunError where the file cannot be used.
    """

    def __init__(self, path: pathlib.Path):
        import sqlite3  # where messages are sent

        self._path, self._error, self._lock = path, sqlite3.Error, threading.Lock()
        try:
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, "
                "refused TEXT)"
            )
        except (OSError, sqlite3.Error) as error:
            raise self._told(error) from error

    def add(self, body: str):
        """Keeps a message; it is on the disk then."""
        self._do("INSERT INTO messages (body) VALUES (?)", (body,))

    def first(self) -> tuple[int, str] | None:
        """(number, body) of the one that waits longest; None where none does."""
        return self._do("SELECT number, body FROM messages WHERE refused IS NULL ORDER BY number LIMIT 1")

    def delivered(self, number: int):
        """Takes a message away."""
        self._do("DELETE FROM messages WHERE number = ?", (number,))

    def refused(self, number: int, why: str):
        """Puts a message aside that the other side does not take; it stays in the file."""
        self._do("UPDATE messages SET refused = ? WHERE number = ?", (why, number))

    def counts(self) -> tuple[int, int]:
        """(messages that wait, messages put aside)."""
        return self._do("SELECT COUNT(*) - COUNT(refused), COUNT(refused) FROM messages")

    def close(self):
        self._file.close()

    def _do(self, query: str, values: tuple = ()):
        try:
            with self._lock:
                return self._file.execute(query, values).fetchone()
        except self._error as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> RunError:
        return RunError(f"{self._path}: cannot be used: {error}")


class Delivery:
    """Delivers messages to an address from a thread of its own, the oldest first.

    Args: address: http://HOST/PATH or https, to which each is posted; mqtt://HOST[:PORT]/TOPIC or mqtts, to
      which each is published (QoS 1); output: folder of the file that keeps what is not delivered, from
      earlier processes too; send: body -> None, for tests.
    Raises: ConfigError for an address that cannot be; RunError where a package is missing.
    """

    def __init__(self, address: str, output: pathlib.Path, send=None, pause: float = FIRST_PAUSE):
        self._address = shown(address)
        self._send = send or sender(address)
        self._pause = pause
        output.mkdir(parents=True, exist_ok=True)
        self._spool = Spool(output / SPOOL)
        waiting, refused = self._spool.counts()
        if waiting:
            print(f"note: {waiting} messages of before are delivered to {self._address} first", flush=True)
        if refused:
            print(f"note: {output / SPOOL}: holds {refused} messages that were refused", flush=True)
        self._changed, self._closing, self._ended = (threading.Event() for _ in range(3))
        self._away = self._stuck = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, values: dict):
        """Takes a message, JSON values; it gets an `id`, unless it has one."""
        self._spool.add(json.dumps({"id": str(uuid.uuid4()), **values}))
        self._changed.set()

    def close(self, seconds: float = TIMEOUT) -> int:
        """Delivers what waits, for so long; returns how many messages are left, for the next process."""
        self._closing.set()
        self._changed.set()
        self._thread.join(seconds)
        self._ended.set()
        waiting, _ = self._spool.counts()
        if hasattr(self._send, "close"):
            self._send.close()
        if waiting:
            print(
                f"note: {waiting} messages are not delivered to {self._address}; the next call with this "
                "--output delivers them"
            )
        return waiting

    def _run(self):
        pause, settle = self._pause, None  # settle: what the file has to be told of the message sent last
        while not self._ended.is_set():
            try:
                if settle is not None:
                    settle()
                    settle = None
                message = self._spool.first()
                self._stuck = False
            except RunError as error:  # a full disk, say; what was sent is not sent again meanwhile
                if not self._stuck:
                    print(f"note: {error}; nothing is delivered until it can", flush=True)
                self._stuck = True
                self._ended.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if message is None:
                if self._closing.is_set():
                    return
                self._changed.wait(1.0)
                self._changed.clear()
                continue
            number, body = message
            try:
                self._send(body)
            except Refused as error:
                settle = functools.partial(self._spool.refused, number, str(error))
                print(f"note: {self._address} refuses a message, which is put aside: {error}", flush=True)
            except Exception as error:  # noqa: BLE001 - whatever keeps it away, it is tried again
                if not self._away:
                    print(f"note: {self._address} {_trouble(error)}; messages are kept", flush=True)
                self._away = True
                if self._closing.is_set():  # not at once: the other side is not to be flooded
                    self._ended.wait(pause)
                elif self._closing.wait(pause):
                    pause = self._pause
                    continue
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            else:
                settle = functools.partial(self._spool.delivered, number)
            if self._away:
                print(f"note: {self._address} takes messages again", flush=True)
            self._away, pause = False, self._pause
        if settle is not None:
            with contextlib.suppress(RunError):  # then it is told once more by the next process
                settle()


def _trouble(error: Exception) -> str:
    """What keeps a message from being delivered, as words after the address."""
    if not isinstance(error, urllib.error.HTTPError):
        return f"cannot be reached: {type(error).__name__}: {error}"
    told = f"answers {error.code} {error.reason}"
    place = error.headers.get("Location") if 300 <= error.code < 400 else None
    return f"{told}: give the address that it names, {shown(place)}" if place else told


def shown(address: str) -> str:
    """The address without its password."""
    parts = urllib.parse.urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def sender(address: str):
    """A function that delivers a body, text of JSON, and raises where that is not confirmed."""
    try:
        parts = urllib.parse.urlsplit(address)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError as error:
        told = address.rpartition("@")[2]  # without the password
        raise ConfigError(f"--notify={told}: {error}") from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ConfigError(
            f"--notify={shown(address)}: expected http://HOST/PATH or mqtt://HOST/TOPIC, or https or mqtts"
        )
    if parts.scheme.startswith("http"):
        if not (parts.path + parts.query).isascii() or not address.isprintable() or " " in address:
            told = "expected %20 and the like for what is no printable character of ASCII"
            raise ConfigError(f"--notify={shown(address)!r}: {told}")
        return _webhook(address)
    topic = parts.path.strip("/")
    if not topic or "+" in topic or "#" in address:
        raise ConfigError(f"--notify={shown(address)}: expected a topic after the host, without # and +")
    return _Mqtt(parts, topic)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it with the token, and from 301 to 303 without the body."""

    def redirect_request(self, *arguments):
        return None


def _webhook(address: str):
    opener = urllib.request.build_opener(_NoRedirects)
    headers, parts = {"Content-Type": "application/json"}, urllib.parse.urlsplit(address)
    if parts.username:
        words = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
        headers["Authorization"] = f"Basic {base64.b64encode(words.encode()).decode()}"
        address = shown(address)
    if token := os.environ.get(TOKEN, "").strip():  # a file's end of line is no part of it
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(f"{TOKEN}: the token must be of printable ASCII characters")
        headers["Authorization"] = f"Bearer {token}"

    def send(body: str):
        request = urllib.request.Request(address, body.encode(), headers, method="POST")
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                response.read(ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in NEVER:
                    raise Refused(f"{error.code} {error.reason}") from None
                raise

    return send


class _Mqtt:
    """Publishes with QoS 1: a message counts as delivered when the broker has confirmed it."""

    def __init__(self, parts, topic: str):
        try:
            from paho.mqtt import client
        except ImportError as error:
            raise RunError(f"MQTT needs paho-mqtt ({error}): install the extra mqtt") from error
        self._topic, self._parts = topic, parts
        self._client = client.Client(client.CallbackAPIVersion.VERSION2, clean_session=True)
        if parts.username:
            self._client.username_pw_set(
                urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
            )
        secure = parts.scheme == "mqtts"
        if secure:
            self._client.tls_set()
        self._port = parts.port or (8883 if secure else 1883)
        self._started = False

    def __call__(self, body: str):
        if not self._started:
            self._client.connect(self._parts.hostname, self._port)
            self._client.loop_start()
            self._started = True
        elif not self._client.is_connected():
            self._client.reconnect()
        sent = self._client.publish(self._topic, body, qos=1)
        sent.wait_for_publish(TIMEOUT)
        if not sent.is_published():
            raise TimeoutError(f"not confirmed after {TIMEOUT:g} s")

    def close(self):
        """Says good-bye to the broker and ends the client's thread, which would try to reach it for ever."""
        if self._started:
            self._client.disconnect()
            self._client.loop_stop()
