"""Messages to other programs: nothing is lost while these are away, refused ones are put aside.

What is no answer to the message, such as a redirect, is no delivery either.
"""

import contextlib
import http.server
import json
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from semi_anogan.errors import ConfigError, RunError
from semi_anogan.export.runtime import delivery as delivering
from semi_anogan.export.runtime.delivery import SPOOL, Delivery, Refused, sender, shown

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Receiver:
    """The other side: keeps bodies; `away` answers 503, `refuses` says which bodies get a 422.

    `moved`: the code of a redirect to /new, answered instead; `asked`: (method, path) of each request.
    """

    def __init__(self, port=0):
        self.bodies, self.tokens, self.away, self.refuses = [], [], False, ()
        self.moved, self.asked = None, []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                receiver.asked.append(("GET", self.path))
                self.send_response(200)
                self.end_headers()

            def do_POST(self):
                receiver.asked.append(("POST", self.path))
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = body["number"] in receiver.refuses
                if receiver.moved:
                    self.send_response(receiver.moved)
                    self.send_header("Location", f"http://a:word@127.0.0.1:{receiver.port}/new")
                    self.end_headers()
                    return
                if not receiver.away and not refused:  # before the answer, after which the next one comes
                    receiver.bodies.append(body)
                    receiver.tokens.append(self.headers["Authorization"])
                self.send_response(503 if receiver.away else 422 if refused else 204)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def numbers(self):
        return [body["number"] for body in self.bodies]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def until(reached, seconds=20):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_messages_come_in_order_with_an_id_and_the_token(receiver, tmp_path, monkeypatch):
    monkeypatch.setenv(delivering.TOKEN, "secret")
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path)
    for number in range(5):
        delivery.add({"number": number})
    assert delivery.close() == 0
    assert receiver.numbers == [0, 1, 2, 3, 4]
    assert len({body["id"] for body in receiver.bodies}) == 5
    assert set(receiver.tokens) == {"Bearer secret"}


def test_what_comes_while_the_other_side_is_away_is_kept(receiver, tmp_path, capsys):
    receiver.away = True
    address = f"http://127.0.0.1:{receiver.port}/x"
    delivery = Delivery(address, tmp_path, pause=0.01)
    for number in range(3):
        delivery.add({"number": number})
    told = f"note: {address} answers 503 Service Unavailable; messages are kept"
    until(lambda: told in capsys.readouterr().out)
    receiver.away = False
    until(lambda: len(receiver.bodies) == 3)
    assert delivery.close() == 0 and receiver.numbers == [0, 1, 2]
    assert f"{address} takes messages again" in capsys.readouterr().out


def test_a_receiver_that_is_stopped_and_started_again(tmp_path):
    first = Receiver()
    delivery = Delivery(f"http://127.0.0.1:{first.port}/x", tmp_path, pause=0.01)
    delivery.add({"number": 0})
    until(lambda: first.bodies)
    first.close()
    delivery.add({"number": 1})
    time.sleep(0.1)
    second = Receiver(first.port)
    until(lambda: second.bodies)
    assert second.numbers == [1] and delivery.close() == 0
    second.close()


def test_the_next_process_delivers_what_is_left(receiver, tmp_path, capsys):
    receiver.away = True
    delivery = Delivery(f"http://user:word@127.0.0.1:{receiver.port}/x", tmp_path, pause=0.01)
    delivery.add({"number": 0})
    assert delivery.close(0.1) == 1
    told = capsys.readouterr().out
    assert "1 messages are not delivered to" in told and "word" not in told
    receiver.away = False
    delivery._thread.join(5)
    later = Delivery(f"http://user:word@127.0.0.1:{receiver.port}/x", tmp_path)
    assert later.close() == 0 and receiver.numbers == [0]
    assert receiver.tokens == ["Basic dXNlcjp3b3Jk"]  # user:word


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_delivery_and_gets_no_token(receiver, tmp_path, monkeypatch, capsys, code):
    # urllib follows 301 to 303 by a GET with the token, without the body, and is content with its 200.
    monkeypatch.setenv(delivering.TOKEN, "secret")
    receiver.moved = code
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path, pause=0.01)
    delivery.add({"number": 0})
    assert delivery.close(0.1) == 1
    assert set(receiver.asked) == {("POST", "/x")}
    told = capsys.readouterr().out
    assert f" answers {code} " in told
    assert f"give the address that it names, http://127.0.0.1:{receiver.port}/new; " in told


def test_at_the_end_the_other_side_is_asked_again_but_not_flooded(receiver, tmp_path):
    receiver.away = True
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path, pause=0.2)
    delivery.add({"number": 0})
    until(lambda: len(receiver.asked) == 2)
    asked = len(receiver.asked)
    assert delivery.close(1) == 1
    # At once or after 0.4 s, then after 0.2, 0.4 and 0.8 s, as far as there is time.
    assert 1 <= len(receiver.asked) - asked <= 4
    assert [b["number"] for b in receiver.bodies] == []


def test_the_token_is_taken_without_its_end_of_line(receiver, tmp_path, monkeypatch):
    monkeypatch.setenv(delivering.TOKEN, "secret\n")
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path)
    delivery.add({"number": 0})
    assert delivery.close() == 0 and receiver.tokens == ["Bearer secret"]
    for token in ("se\ncret", "sécret"):
        monkeypatch.setenv(delivering.TOKEN, token)
        with pytest.raises(ConfigError, match="^SEMI_ANOGAN_NOTIFY_TOKEN: ") as caught:
            sender("http://host/x")
        assert "cret" not in str(caught.value)


def test_what_is_left_is_told_and_comes_first(receiver, tmp_path, capsys):
    spool = delivering.Spool(tmp_path / SPOOL)
    spool.add(json.dumps({"id": "a", "number": 7}))
    spool.close()
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path)
    delivery.add({"number": 8})
    assert delivery.close() == 0 and receiver.numbers == [7, 8]
    assert "note: 1 messages of before are delivered to" in capsys.readouterr().out


class Full:
    """A spool's file on a disk that is full: what is to be written there fails."""

    def __init__(self, file):
        self.file, self.full = file, True

    def execute(self, query, values=()):
        if self.full and not query.startswith("SELECT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.file.execute(query, values)

    def close(self):
        self.file.close()


def test_a_full_disk_ends_no_delivery_and_doubles_nothing(receiver, tmp_path, capsys):
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path, pause=0.01)
    spool = delivery._spool
    receiver.refuses, receiver.away = (1,), True
    for number in range(3):
        delivery.add({"number": number})
    spool._file = full = Full(spool._file)
    receiver.away = False
    until(lambda: "disk is full; nothing is delivered until it can" in capsys.readouterr().out)
    with pytest.raises(RunError, match=f"{SPOOL}: cannot be used: database or disk is full"):
        delivery.add({"number": 9})
    full.full = False
    until(lambda: spool.counts() == (0, 1))
    assert delivery.close() == 0 and receiver.numbers == [0, 2]


def test_a_refused_message_does_not_keep_the_others(receiver, tmp_path, capsys):
    receiver.refuses = (1,)
    delivery = Delivery(f"http://127.0.0.1:{receiver.port}/x", tmp_path)
    for number in range(3):
        delivery.add({"number": number})
    assert delivery.close() == 0 and receiver.numbers == [0, 2]
    assert "refuses a message, which is put aside: 422" in capsys.readouterr().out
    (row,) = sqlite3.connect(tmp_path / SPOOL).execute("SELECT body, refused FROM messages")
    assert json.loads(row[0])["number"] == 1 and row[1].startswith("422")
    Delivery("http://127.0.0.1:1/x", tmp_path).close()
    assert "holds 1 messages that were refused" in capsys.readouterr().out


def test_an_answer_without_an_end_keeps_nothing_waiting(tmp_path):
    numbers = []

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            numbers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["number"])
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # until the other side has closed
                while True:
                    self.wfile.write(b"x" * 65536)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    delivery = Delivery(f"http://127.0.0.1:{server.server_port}/x", tmp_path)
    for number in range(3):
        delivery.add({"number": number})
    until(lambda: delivery._spool.counts() == (0, 0))
    assert delivery.close() == 0 and numbers == [0, 1, 2]
    server.shutdown()
    server.server_close()


def test_any_trouble_is_tried_again_and_a_refusal_is_not(tmp_path):
    sent, trouble = [], [OSError("no"), Refused("never"), None]

    def send(body):
        error = trouble.pop(0)
        if error is not None:
            raise error
        sent.append(json.loads(body)["number"])

    delivery = Delivery("http://x/y", tmp_path, send, pause=0.01)
    delivery.add({"number": 0})
    delivery.add({"number": 1})
    until(lambda: sent)
    assert sent == [1] and delivery.close() == 0


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ftp://host/x", "--notify=ftp://host/x: expected http://HOST/PATH or mqtt"),
        ("host:80", "expected http://HOST/PATH or mqtt"),
        ("http:///x", "expected http://HOST/PATH or mqtt"),
        ("http://host:port/x", "--notify=http://host:port/x: "),
        ("http://user:word@host:port/x", "--notify=host:port/x: "),
        ("http://host/a b", "--notify='http://host/a b': expected %20"),
        ("http://a:word@host/é", "--notify='http://host/é': expected %20"),
        ("mqtt://host", "expected a topic after the host, without # and +"),
        ("mqtt://user:word@host/a/#", "--notify=mqtt://host/a/: expected a topic"),
    ],
)
def test_addresses_that_cannot_be(address, told):
    with pytest.raises(ConfigError) as caught:
        sender(address)
    assert told in str(caught.value)


def test_passwords_are_not_shown():
    assert shown("mqtts://user:word@host:99/a/b") == "mqtts://host:99/a/b"


@pytest.mark.skipif(BROKER is None, reason="no mosquitto")
def test_a_broker_that_is_stopped_and_started_again(tmp_path):
    from paho.mqtt import client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")

    def broker():
        process = subprocess.Popen([BROKER, "-c", settings], stderr=subprocess.DEVNULL)
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        return process

    def listener(found):
        other = client.Client(client.CallbackAPIVersion.VERSION2)
        ready = threading.Event()
        other.on_subscribe = lambda *_: ready.set()
        other.on_message = lambda _, __, message: found.append(json.loads(message.payload)["number"])
        other.connect("127.0.0.1", port)
        other.subscribe("line/1", qos=1)
        other.loop_start()
        assert ready.wait(10)
        return other

    process, before, after = broker(), [], []
    try:
        first = listener(before)
        delivery = Delivery(f"mqtt://127.0.0.1:{port}/line/1", tmp_path, pause=0.05)
        delivery.add({"number": 0})
        until(lambda: before == [0])
        process.terminate()
        process.wait()
        first.loop_stop()
        delivery.add({"number": 1})
        time.sleep(0.3)
        # A listener that comes later would miss what the broker gets before it: nothing is kept there.
        process, pause = broker(), delivery._pause
        second = listener(after)
        delivery.add({"number": 2})
        until(lambda: 2 in after)
        assert delivery.close() == 0 and pause == 0.05
        assert after in ([1, 2], [2])
        assert not delivery._send._client.is_connected()
        assert delivery._send._client._thread is None  # it would try to reach the broker for ever
        second.loop_stop()
    finally:
        process.kill()
        process.wait()


def test_the_runtime_tells_what_it_writes(tmp_path, monkeypatch, receiver):
    import test_frames

    from semi_anogan.export.runtime import __main__ as runtime

    monkeypatch.setattr(runtime, "EdgeDetector", test_frames.Edge)
    monkeypatch.setattr(runtime, "products_of", lambda folder: ())
    receiver.refuses = ()
    folder = tmp_path / "in"
    folder.mkdir()
    for name, value in (("a.png", 0), ("b.png", 255)):
        (folder / name).write_bytes(test_frames.picture(value))
    (folder / "c.png").write_bytes(b"no image")
    bodies = []
    monkeypatch.setattr(runtime, "sender", lambda address: None)
    monkeypatch.setattr(delivering, "sender", lambda address: lambda body: bodies.append(json.loads(body)))
    arguments = ["--bundle=x", "--engine=onnx", f"--input={folder}", "--notify=http://x/y"]
    assert runtime.main([*arguments, f"--output={tmp_path / 'all'}"]) == 3
    rows = test_frames.rows_of(tmp_path / "all")
    lines = [json.loads(line) for line in open(tmp_path / "all/regions.jsonl")]
    assert [body["path"] for body in bodies] == [row["path"] for row in rows]
    for body, row in zip(bodies, rows, strict=True):
        assert body["label"] == (row["label"] or None) and (body["error"] or "") == row["error"]
        assert body["threshold"] == float(row["threshold"])
        assert ("" if body["score"] is None else f"{body['score']:.6g}") == row["score"]
        own = [
            {k: v for k, v in line.items() if k != "path"} for line in lines if line["path"] == row["path"]
        ]
        assert (body["regions"] or []) == own
    bodies.clear()
    assert runtime.main([*arguments, f"--output={tmp_path / 'some'}", "--notify_of=abnormal"]) == 3
    assert [pathlib.Path(body["path"]).name for body in bodies] == ["b.png", "c.png"]
    assert not any("drift" in body for body in bodies)
    bodies.clear()
    changes = iter([["the light"], []])
    monkeypatch.setattr("semi_anogan.scoring.drift.Drift.add", lambda *arguments: next(changes))
    assert runtime.main([*arguments, f"--output={tmp_path / 'more'}", "--notify_of=abnormal"]) == 3
    assert [body.get("drift") for body in bodies] == [["the light"], None, None]
    assert [pathlib.Path(body["path"]).name for body in bodies] == ["a.png", "b.png", "c.png"]
