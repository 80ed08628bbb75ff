"""The service: answers, bad requests, workers that die, and the same scores as the runtime's."""

import asyncio
import base64
import concurrent.futures
import csv
import dataclasses
import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from helpers.exported import BATCH
from helpers.processes import ENVIRONMENT
from helpers.served import DEADLY, SLOW, LeavingSettings, StandInSettings
from helpers.trained import CALIBRATION as BARE
from helpers.trained import StandInDetector
from semi_anogan import listening
from semi_anogan.errors import RunError
from semi_anogan.export.runtime import __main__ as runtime
from semi_anogan.review import __main__ as review
from semi_anogan.serve import __main__ as serve
from semi_anogan.serve.answers import Job, answer
from semi_anogan.serve.connections import protocol
from semi_anogan.serve.limits import Limits
from semi_anogan.serve.queue import Closed, Full, ScoringQueue
from semi_anogan.serve.worker import Died, Worker, WorkerError, _Stages

MOST_PIXELS = 10_000
CALIBRATION = dataclasses.replace(
    BARE, pixel_threshold=0.5, normal_scores=(0.1, 0.2, 0.3, 2.0), normal_highest=(0.1, 0.2, 0.3, 0.4)
)


def stand_in() -> StandInDetector:
    return StandInDetector(calibration=CALIBRATION)


def picture(level=0, size=(8, 8), kind="PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full(size, level, np.uint8)).save(stream, kind)
    return stream.getvalue()


# Answers


def test_an_answer_says_what_scores_and_regions_say():
    """The stand-in's score is the image's mean: of level 255 it is 1."""
    detector = stand_in()
    (found,) = answer(detector, [Job(picture(255), overlay=True)], MOST_PIXELS)
    overlay = Image.open(io.BytesIO(base64.b64decode(found.pop("overlay"))))
    assert overlay.size == (512, 512)
    score = float(CALIBRATION.score(np.ones((1, 4)))[0])
    (region,) = found.pop("regions")
    assert region["box"] == [0, 0, 8, 8] and region["area"] == 64 and region["peak"] == 1.0
    assert found == {
        "score": float(f"{score:.6g}"),
        "label": "abnormal",
        "p_value": 0.4,  # of four normal scores one is as high
        "threshold": CALIBRATION.threshold,
        "notes": ["1 images have one value all over, such as image: they show nothing"],
    }


def test_a_threshold_of_one_image_is_not_that_of_the_next():
    jobs = [Job(picture(255), threshold=1e6), Job(picture(255)), Job(picture(255), false_alarm_rate=7.0)]
    first, second, third = answer(stand_in(), jobs, MOST_PIXELS)
    assert (first["label"], first["threshold"], first["regions"]) == ("normal", 1e6, [])
    assert (second["label"], second["threshold"]) == ("abnormal", CALIBRATION.threshold)
    assert third == {"error": "false_alarm_rate must be in (0, 1), got 7.0"}


def test_bad_images_get_an_error_each_and_the_others_their_score():
    jobs = [Job(c) for c in (picture(0), b"no image", picture(0)[:40], picture(0, (200, 200)), picture(0))]
    good, none, short, large, last = answer(stand_in(), jobs, MOST_PIXELS)
    assert good == last and good["label"] == "normal"
    assert none["error"].startswith("image: not a readable PNG")
    assert short["error"].startswith("image: ")
    assert large["error"].startswith("image: 200 x 200 pixels, more than the limit of 10000 pixels")


def test_what_is_unusual_in_a_file_is_told():
    colour = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(colour, "PNG")
    (found,) = answer(stand_in(), [Job(colour.getvalue())], MOST_PIXELS)
    assert found["notes"] and not any("/" in line for line in found["notes"])


def test_nothing_of_an_image_stays_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer(stand_in(), [Job(picture(0)), Job(b"no image")], MOST_PIXELS)
    assert not list(tmp_path.iterdir())


# Workers


@pytest.fixture(scope="module")
def queue():
    found = ScoringQueue(lambda: Worker(StandInSettings()), most=20, seconds=2.0)
    yield found
    found.close()


def answers(queue, levels):
    futures = queue.add([Job(picture(level)) for level in levels])
    return [f.exception() or f.result() for f in futures]


def test_only_the_image_that_ends_the_worker_gets_an_error(queue):
    before = queue.restarts
    found = answers(queue, [0, DEADLY, 255])
    assert isinstance(found[1], Died) and str(found[1]) == "ended the process that scores"
    assert [f["label"] for f in (found[0], found[2])] == ["normal", "abnormal"]
    assert queue.restarts - before == 2 and queue.healthy  # with the batch, and alone


def test_what_takes_too_long_is_ended(queue):
    (found,) = answers(queue, [SLOW])
    assert isinstance(found, Died) and str(found) == "took more than 2 s"
    assert answers(queue, [255])[0]["label"] == "abnormal"


def test_a_batch_that_was_sent_ahead_is_not_lost_with_the_worker(queue):
    """Batches of four: the second is at the worker already when an image of the first ends it, or is late."""
    for level, told in ((DEADLY, "ended the process that scores"), (SLOW, "took more than 2 s")):
        found = answers(queue, [level, 0, 0, 0, 255, 255, 255, 255, 255])
        assert isinstance(found[0], Died) and str(found[0]) == told
        assert [f["label"] for f in found[1:]] == ["normal"] * 3 + ["abnormal"] * 5


def test_large_images_are_decoded_when_others_are_done(monkeypatch):
    monkeypatch.setattr("semi_anogan.serve.worker.AHEAD", 10)
    ours, theirs = multiprocessing.Pipe()
    stages = _Stages(theirs, {None: stand_in()}, MOST_PIXELS)
    thread = threading.Thread(target=stages.run)
    thread.start()
    for level in (255, 0, 255):
        ours.send([Job(picture(level))] * 2)
    assert [ours.recv()[0][1]["label"] for _ in range(3)] == ["abnormal", "normal", "abnormal"]
    ours.close()
    thread.join(20)
    assert not thread.is_alive()


def test_a_worker_that_is_killed_between_requests_is_replaced(queue):
    os.kill(queue.worker.pid, signal.SIGKILL)
    assert answers(queue, [255])[0]["label"] == "abnormal"  # no image did that, so it is tried once more


def test_what_a_killed_worker_was_decoding_does_not_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = Worker(LeavingSettings())
    assert len(list(tmp_path.glob("*/semi_anogan_*"))) == 1
    os.kill(worker.pid, signal.SIGKILL)
    worker.end()
    assert not list(tmp_path.iterdir())
    with pytest.raises(WorkerError, match="^no bundle$"):
        Worker(LeavingSettings("no bundle"))
    assert not list(tmp_path.iterdir())


def test_a_change_of_the_images_is_told(queue, capsys):
    """The worker knows 40 images of about level 50 to 90; a threshold of the request changes no alarm."""
    os.kill(queue.worker.pid, signal.SIGKILL)  # what it has seen goes with it
    for _ in range(30):
        queue.add([Job(picture(120), threshold=9.0)])[0].result(30)
    state, lines = queue.drift
    assert state["images"] >= 29 and list(lines) == ["brightness"]
    assert capsys.readouterr().out.count("note: drift after") == 1


def test_a_worker_that_cannot_begin_says_why():
    with pytest.raises(WorkerError, match="^no bundle$"):
        Worker(StandInSettings("no bundle"))


class Slowly:
    """A worker in this process that waits for `go`."""

    batch_size, alive, pid, lines, drift = 2, True, 0, (), ({"quantities": {}}, {})
    products = ()

    def __init__(self):
        self.go, self.batches, self.answered = threading.Event(), [], 0

    def send(self, jobs):
        self.batches.append(len(jobs))

    def ready(self, seconds):
        return self.go.wait(seconds)

    def receive(self):
        self.answered += 1
        return [{"label": "normal"}] * self.batches[self.answered - 1]

    def end(self):
        pass


def test_what_waits_becomes_a_batch_and_no_more_than_may_wait():
    worker = Slowly()
    queue = ScoringQueue(lambda: worker, most=3, seconds=20)
    first = queue.add([Job(b"")])
    while not worker.batches:
        time.sleep(0.01)
    ahead = queue.add([Job(b"")] * 2)  # a whole batch: it is decoded while the first one is scored
    while len(worker.batches) < 2:
        time.sleep(0.01)
    others = queue.add([Job(b"")] * 3)
    with pytest.raises(Full, match="^3 images wait, and at most 3 may$"):
        queue.add([Job(b"")])
    assert others[0].cancel()  # nobody waits for it any more
    worker.go.set()
    assert [f.result(20) for f in [*first, *ahead, *others[1:]]] == [{"label": "normal"}] * 5
    assert worker.batches == [1, 2, 2]
    queue.close()
    with pytest.raises(Closed):
        queue.add([Job(b"")])


def test_the_end_waits_for_what_was_taken():
    worker = Slowly()
    queue = ScoringQueue(lambda: worker, most=9, seconds=20)
    futures = queue.add([Job(b"")] * 5)
    threading.Timer(0.1, worker.go.set).start()
    queue.close()
    assert [f.result(0) for f in futures] == [{"label": "normal"}] * 5


def test_the_end_passes_over_those_who_have_given_up():
    worker = Slowly()
    worker.batch_size = 3  # so that two are not sent ahead
    queue = ScoringQueue(lambda: worker, most=9, seconds=20)
    queue.add([Job(b"")])
    while not worker.batches:
        time.sleep(0.01)
    gone, waiting = queue.add([Job(b"")] * 2)
    assert gone.cancel()
    queue.close(0.05)
    assert isinstance(waiting.exception(1), Closed)
    worker.go.set()


# Limits


def asked(messages, headers=(), path="/score", **limits):
    """(status, body) that Limits gives; the application answers 200 with the length of what it got."""
    sent, held = [], []

    async def app(scope, receive, send):
        body = (await receive())["body"]
        held.append(limited._held)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(len(body)).encode()})

    async def receive():
        message = messages.pop(0)
        if isinstance(message, float):
            await asyncio.sleep(message)
            message = messages.pop(0)
        return {"type": "http.request", "body": message, "more_body": bool(messages)}

    async def send(message):
        sent.append(message)

    defaults = {"token": None, "max_bytes": 10, "all_bytes": 15, "seconds": 0.2}
    limited = Limits(app, **{**defaults, **limits})
    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(limited(scope, receive, send))
    assert limited._held == 0
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("messages", "options", "status", "told"),
    [
        ([b"12345", b"67890"], {}, 200, "10"),
        ([b"12345", b"678901"], {}, 413, "a request may have 10 bytes at most"),
        ([b""], {"headers": [(b"content-length", b"1000000000")]}, 413, "10 bytes at most"),
        ([b"1", 0.5, b"2"], {}, 408, "the body took more than 0.2 s"),
        ([b"12345678"], {"all_bytes": 7}, 429, "too many large requests at once"),
        ([b"1"], {"token": "secret"}, 401, "Authorization must say"),
        (
            [b"1"],
            {"token": "secret", "headers": [(b"authorization", b"Bearer secreT")]},
            401,
            "Authorization",
        ),
        ([b"1"], {"token": "secret", "headers": [(b"authorization", b"Bearer secret")]}, 200, "1"),
        ([b"1"], {"token": "secret", "path": "/health"}, 200, "1"),
    ],
)
def test_limits(messages, options, status, told):
    found, body = asked(list(messages), **options)
    assert found == status and told in body


def test_what_is_too_large_is_told_before_the_rest_has_come():
    """And the bytes that were held of it count no more while the rest is dropped."""
    order, messages = [], [b"123456", b"7890123", b"x" * 50, b""]

    async def receive():
        order.append(limited._held)
        message = messages.pop(0)
        return {"type": "http.request", "body": message, "more_body": bool(messages)}

    async def send(message):
        order.append(message.get("status", message.get("body")))

    limited = Limits(None, None, max_bytes=10, all_bytes=100, seconds=5.0)
    asyncio.run(limited({"type": "http", "path": "/score", "headers": []}, receive, send))
    told = b'{"detail": "a request may have 10 bytes at most"}'
    assert order == [0, 6, 413, told, 0, 0, b""]


def test_connections_that_say_nothing_or_no_whole_request_are_closed():
    import uvicorn

    async def app(scope, receive, send):
        await asyncio.sleep(0.6)  # an answer may take longer than the head of a request
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    listening = socket.create_server(("127.0.0.1", 0))
    options = {"http": protocol(0.3), "lifespan": "off", "log_level": "error", "timeout_keep_alive": 30}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        silent, half, whole = (socket.create_connection(listening.getsockname(), 20) for _ in range(3))
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        whole.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert silent.recv(99) == b""
        assert half.recv(99).startswith(b"HTTP/1.1 408 ") and half.recv(99) == b""
        answer = whole.recv(999)
        assert answer.startswith(b"HTTP/1.1 200 ")
        while not answer.endswith(b"ok"):
            answer += whole.recv(999)
        whole.sendall(b"GET / HT")  # a second one on the same connection
        assert whole.recv(99).startswith(b"HTTP/1.1 408 ")
    finally:
        server.should_exit = True
        thread.join(20)


# The command


def test_a_token_is_needed_beyond_this_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(serve.TOKEN, raising=False)
    arguments = ["--bundle=x", "--engine=onnx", "--host=0.0.0.0"]
    assert serve.main(arguments) == 1
    assert "--host=0.0.0.0 opens the service to other machines: give a token" in capsys.readouterr().err
    assert serve.main([*arguments, f"--token_file={tmp_path / 'none'}"]) == 1
    assert f"{tmp_path / 'none'}: cannot be read" in capsys.readouterr().err
    (tmp_path / "token").write_text("secret\n")
    options = serve._options([*arguments, f"--token_file={tmp_path / 'token'}"])
    assert serve._token(options) == "secret"
    (tmp_path / "token").write_text("geheimß")
    with pytest.raises(RunError, match="ASCII"):
        serve._token(options)


def test_a_token_file_without_a_token_opens_nothing(tmp_path, capsys):
    for content in (b"", b" \n", b"\xff\xfe"):
        (tmp_path / "token").write_bytes(content)
        assert serve.main(["--bundle=x", "--engine=onnx", f"--token_file={tmp_path / 'token'}"]) == 1
        assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'token'}: ")


def test_tokens_of_the_environment(monkeypatch, capsys):
    options = serve._options(["--bundle=x", "--engine=onnx"])
    for given, token in ((" se cret\n", "se cret"), ("", None)):
        monkeypatch.setenv(serve.TOKEN, given)
        assert serve._token(options) == token
    monkeypatch.setenv(serve.TOKEN, "se\ncret")
    with pytest.raises(RunError, match="printable ASCII"):
        serve._token(options)
    for given in ("se;cret", "se cret", "sé"):  # of the page's address and cookie
        monkeypatch.setenv(review.TOKEN, given)
        assert review.main(["--workdir=x", "--host=0.0.0.0", "--port=0"]) == 1
        assert capsys.readouterr().err.startswith("error: SEMI_ANOGAN_TOKEN: the token may have letters, ")
    monkeypatch.setenv(review.TOKEN, "secret\n")
    assert review._token() == "secret"


def test_a_bundle_that_cannot_be_used_is_told(tmp_path, capsys):
    assert serve.main([f"--bundle={tmp_path}", "--engine=onnx", "--port=0"]) == 1
    assert str(tmp_path / "bundle.json") in capsys.readouterr().err


def test_an_address_that_cannot_be_listened_at_is_told_at_once(capsys):
    taken = listening.listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    assert listening.address(taken, "127.0.0.1") == f"http://127.0.0.1:{port}"
    for host, number in (("127.0.0.1", port), ("127.0.0.1", 65536), ("127.0.0.1", -1), ("::1%x", 0)):
        with pytest.raises(RunError, match=f"^--host={host} --port={number}: cannot be listened at: "):
            listening.listen(host, number)
    for command in (serve, review):
        arguments = ["--workdir=x"] if command is review else ["--bundle=x", "--engine=onnx"]
        assert command.main([*arguments, f"--port={port}"]) == 1
        assert f"--port={port}: cannot be listened at: " in capsys.readouterr().err
    taken.close()


@pytest.mark.parametrize("option", ["seconds=inf", "seconds=nan", "threads=0", "batch=0", "max_bytes=-1"])
def test_options_that_cannot_be(option, capsys):
    with pytest.raises(SystemExit):
        serve.main(["--bundle=x", "--engine=onnx", f"--{option}"])
    assert f"--{option.split('=')[0]} must be above 0, got " in capsys.readouterr().err


def post(address, body, kind="image/png", timeout=60):
    """(status, text)."""
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def service(bundle_folder, tmp_path_factory):
    """(address, process) of the command with the exported bundle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "semi_anogan.serve", f"--bundle={bundle_folder}", "--engine=onnx"]
    command += [f"--port={port}", "--max_bytes=1000000", "--max_pixels=100000", "--threads=1"]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=out, stderr=out)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    yield address, process
    process.kill()
    process.wait()


def form(files) -> tuple[bytes, str]:
    """(body, content type) of a form with files, (name, content)."""
    parts = [
        f'--XX\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode() + content
        for name, content in files
    ]
    return b"\r\n".join([*parts, b"--XX--\r\n"]), "multipart/form-data; boundary=XX"


def test_health_is_told_without_its_words_too(service):
    request = urllib.request.Request(f"{service[0]}/health", method="HEAD")
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert (answer.status, answer.read()) == (200, b"")


def test_the_service_gives_what_the_runtime_writes(service, bundle_folder, test_images, tmp_path):
    import json

    address, _ = service
    folder = tmp_path / "in"
    folder.mkdir()
    for i, image in enumerate(test_images[:4]):
        pixels = np.uint8(np.round(image[..., 0] * 127.5 + 127.5))
        Image.fromarray(pixels).resize((20, 16 + i)).save(folder / f"{i}.png")
    options = [f"--bundle={bundle_folder}", "--engine=onnx", f"--batch={BATCH}", "--threads=1"]
    options += ["--false_alarm_rate=0.5"]
    assert runtime.main([*options, f"--input={folder}", f"--output={tmp_path / 'out'}"]) == 0
    with open(tmp_path / "out/scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    regions = [json.loads(line) for line in open(tmp_path / "out/regions.jsonl")]
    files = [(row["path"].rsplit("/", 1)[-1], open(row["path"], "rb").read()) for row in rows]
    status, text = post(f"{address}/score?false_alarm_rate=0.5", *form([*files, ("../../x", b"no image")]))
    assert status == 200
    *found, broken = json.loads(text)["images"]
    assert broken["name"] in ("../../x", "x") and broken["error"].startswith("image: not a readable")
    assert regions, "this rate should give some"
    for row, image in zip(rows, found, strict=True):
        assert image["name"] == row["path"].rsplit("/", 1)[-1]
        for key in ("score", "threshold", "p_value"):
            assert image[key] == float(row[key])
        assert image["label"] == row["label"]
        own = [{k: v for k, v in r.items() if k != "path"} for r in regions if r["path"] == row["path"]]
        assert image["regions"] == own
    assert json.loads(post(f"{address}/score?false_alarm_rate=0.5", files[0][1])[1]) == {
        k: v for k, v in found[0].items() if k != "name"
    }


def test_bad_requests_are_refused_clearly_and_the_service_lives(service):
    address, process = service
    score, good = f"{address}/score", picture(0, (20, 20))
    bomb = picture(0, (400, 400))
    for (url, body, kind), (expected, told) in {
        (score, b"", "image/png"): (422, "the body is empty"),
        (score, good[:50], "image/png"): (422, "image: "),
        (score, bomb, "image/png"): (422, "pixels"),
        (score, b"{}", "application/json"): (415, "an image or a form of files is expected"),
        (score, b"x" * 1_000_001, "image/png"): (413, "1000000 bytes at most"),
        (f"{score}?threshold=nan", good, "image/png"): (422, "threshold: Input should be a finite number"),
        (f"{score}?false_alarm_rate=5", good, "image/png"): (422, "false_alarm_rate: "),
        (f"{score}?threshold=1&false_alarm_rate=0.1", good, "image/png"): (422, '"give threshold or false'),
        (f"{score}?treshold=1", good, "image/png"): (422, "treshold: Extra inputs are not permitted"),
        (score, *form([])): (422, "the form holds no file"),
        (score, b"--XX\r\nContent-Dispo", "multipart/form-data; boundary=XX"): (
            422,
            "the form holds no file",
        ),
        (score, form([("a", good), ("b", good)])[0][:-30], form([])[1]): (
            422,
            "the form ends before its last boundary",
        ),
        (f"{score}?threshold=1&threshold=9", good, "image/png"): (422, "threshold: is given 2 times"),
        (score, *form([(str(i), b"") for i in range(65)])): (400, "Too many files"),
        (f"{address}/../../etc/passwd", good, "image/png"): (404, "Not Found"),
    }.items():
        status, text = post(url, body, kind)
        assert status == expected and told in text, (url, status, text)
    # Many connections that say nothing, and a request that never ends.
    silent = [socket.create_connection(address.removeprefix("http://").split(":")) for _ in range(200)]
    silent[0].sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda _: post(score, good)[0], range(16)))
    assert found == [200] * 16
    for connection in silent:
        connection.close()
    text = urllib.request.urlopen(f"{address}/metrics").read().decode()
    assert 'semi_anogan_images_total{label="' in text and "semi_anogan_worker_restarts 0.0" in text
    assert "curl --data-binary" in urllib.request.urlopen(f"{address}/docs").read().decode()
    assert process.poll() is None


def test_the_service_ends_gracefully(service):
    address, process = service
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        running = [clients.submit(post, f"{address}/score", picture(0, (20, 20))) for _ in range(4)]
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        for future in running:
            try:
                assert future.result()[0] in (200, 503)
            except OSError:  # it came too late, and was not let in
                pass
    assert process.wait(60) == 0
