"""The service under load, beside the runtime on the same images: images/s, latency, memory. Linux."""

import collections
import contextlib
import http.client
import io
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.errors import RunError
from semi_anogan.export.runtime.bundle import Bundle

IMAGES = 64  # different ones, of the size that the bundle takes
HEADER = ["", "images/s", "latency p50, p95, p99: ms", "memory at first and at the end: MiB"]


def run(folder: str, engine: str, seconds: float, clients: int, warm: float = 10.0) -> str:
    """Markdown: the service with so many clients that each wait for an answer, then the runtime's command.

    Images are noise, as PNG files; they take as long as any. The first `warm` seconds do not count.
    """
    values = Bundle(folder).values
    with tempfile.TemporaryDirectory() as place:
        paths = write_images(pathlib.Path(place) / "in", values["images"])
        served = _serve(folder, engine, [p.read_bytes() for p in paths], seconds, clients, warm)
        alone = _runtime(folder, engine, pathlib.Path(place))
    rows = [["service", *served], ["runtime", alone, "–", "–"]]
    share = served[0] / alone
    return (
        f"Machine: {machine()}. {clients} clients for {seconds:g} s; the service reaches {share:.2f} of the "
        f"runtime's images/s.\n\n{table(HEADER, rows)}\n\n{bad_requests(folder, engine)}"
    )


def write_images(folder: pathlib.Path, images: dict) -> list[pathlib.Path]:
    from PIL import Image

    rng, shape = np.random.default_rng(0), (*images["image_shape"], images["channels"])
    folder.mkdir()
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(folder / f"{i:02d}.png")
    return sorted(folder.iterdir())


@contextlib.contextmanager
def _service(folder, engine: str, *options: str):
    """(process, port) of a service that answers; it ends afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "semi_anogan.serve", f"--bundle={folder}", f"--engine={engine}"]
    process = subprocess.Popen([*command, f"--port={port}", *options], stdout=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _serve(folder, engine, contents, seconds, clients, warm) -> tuple[float, str, str]:
    """(images/s, latencies, memory) of the service."""
    with _service(folder, engine) as (process, port):
        begin = time.monotonic() + warm
        end, found, failed = begin + seconds, [], []
        threads = [
            threading.Thread(target=_client, args=(port, contents, i, end, found, failed))
            for i in range(clients)
        ]
        for thread in threads:
            thread.start()
        time.sleep(max(0.0, begin - time.monotonic()))
        first = _memory(process.pid)
        time.sleep(max(0.0, end - 0.5 - time.monotonic()))
        last = _memory(process.pid)
        for thread in threads:
            thread.join()
    if failed:
        raise RunError(f"{len(failed)} requests failed, the first with: {failed[0]}")
    latencies = np.array([taken for done, taken in found if done >= begin])
    if not len(latencies):
        raise RunError(f"no image was scored in {seconds:g} s")
    p50, p95, p99 = np.percentile(latencies * 1000, (50, 95, 99))
    rate = len(latencies) / (max(done for done, _ in found) - begin)
    return rate, f"{p50:.0f}, {p95:.0f}, {p99:.0f}", f"{first:.0f}, {last:.0f}"


def bad_requests(folder: str, engine: str, size: int = 1 << 30, connections: int = 1000) -> str:
    """Markdown: what the service does with bodies of `size` bytes and with so many connections at once.

    Another client goes on meanwhile; each of its images has to be scored.
    """
    import resource

    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    values, seconds, rows = Bundle(folder).values, 10, []
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    cases = {
        f"a body of {size} bytes": (1, head + b"Content-Length: %d\r\n\r\n" % size, size),
        "the same in chunks, its length not said": (1, head + b"Transfer-Encoding: chunked\r\n\r\n", -size),
        f"{connections} connections that say nothing": (connections, b"", 0),
        f"{connections} with half a head": (connections, head, 0),
        f"{connections} with a body that stops": (connections, head + b"Content-Length: 99\r\n\r\nabc", 0),
    }
    with tempfile.TemporaryDirectory() as place, _service(folder, engine, f"--seconds={seconds}") as served:
        process, port = served
        contents = [p.read_bytes() for p in write_images(pathlib.Path(place) / "in", values["images"])]
        _score_until(port, contents, time.monotonic() + 2)
        for what, (count, sent, more) in cases.items():
            before, found, taken = _memory(process.pid), collections.Counter(), []
            most, done = [before], threading.Event()
            others = threading.Thread(target=_others, args=(process.pid, port, contents, most, taken, done))
            others.start()
            begun = time.monotonic()
            open_ones = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
            for connection in open_ones:
                connection.sendall(sent)
            for connection in open_ones:
                found[_told(connection, more, begun + seconds + 20)] += 1
            lasted = time.monotonic() - begun
            done.set()
            others.join()
            told = ", ".join(f"{n} {answer}" for answer, n in found.most_common())
            p95 = np.percentile(np.array(taken) * 1000, 95) if taken else np.nan
            memory = f"{before:.0f}, {max(most):.0f}, {_memory(process.pid):.0f}"
            rows.append([what, told, f"{lasted:.1f}", f"{len(taken)}, {p95:.0f}", memory])
        if process.poll() is not None:
            raise RunError("the service has ended")
    header = ["what comes", "its answers", "until then: s", "images scored meanwhile, p95: ms"]
    return table([*header, "memory before, at most, after: MiB"], rows)


def _told(connection, more: int, end: float) -> str:
    """The status that a connection gets, or "closed"; it sends `more` bytes, of less than 0 in chunks."""
    block, left = bytes(1 << 20), abs(more)
    connection.settimeout(max(0.1, end - time.monotonic()))
    with connection, contextlib.suppress(OSError):
        while left > 0:
            readable, _, _ = select.select([connection], [], [], 0)
            if readable:
                break  # it is answered early
            part = block[:left]
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part) if more < 0 else part)
            left -= len(part)
        text = connection.recv(4096)
        return text.split(b" ")[1].decode() if text.startswith(b"HTTP/1.1 ") else "closed"
    return "closed" if time.monotonic() < end else "not closed"


def _others(pid: int, port: int, contents, most: list, taken: list, done: threading.Event):
    """Scores images until `done`; adds the memory to `most` and the seconds of each to `taken`."""
    while not done.is_set():
        taken += _score_until(port, contents, time.monotonic() + 0.2)
        most.append(_memory(pid))


def _score_until(port: int, contents, end: float) -> list[float]:
    """The seconds of each image of one client, until a time; RunError for one that is not scored."""
    found, failed = [], []
    _client(port, contents, 0, end, found, failed)
    if failed:
        raise RunError(f"an image was not scored: {failed[0]}")
    return [taken for _, taken in found]


def _wait(process, port: int):
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except OSError:
            if process.poll() is not None:
                raise RunError("the service did not begin; its error stands above") from None
            time.sleep(0.2)


def _client(port: int, contents, number: int, end: float, found: list, failed: list):
    """Asks one after the other until `end`; adds (when done, seconds taken) of each to found."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < end and not failed:
        begun, number = time.monotonic(), number + 1
        try:
            content = contents[number % len(contents)]
            connection.request("POST", "/score", content, {"Content-Type": "image/png"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            failed.append(str(error))
            return
        if response.status != 200:
            failed.append(f"{response.status} {text.decode(errors='replace')}")
            return
        found.append((time.monotonic(), time.monotonic() - begun))


def _memory(pid: int) -> float:
    """Resident memory of a process and its children, MiB."""
    pids, total = [pid], 0.0
    for child in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(child.read_text().rpartition(")")[2].split()[1]) == pid:
                pids.append(int(child.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    for each in pids:
        status = io.StringIO(pathlib.Path(f"/proc/{each}/status").read_text())
        total += sum(int(re.findall(r"\d+", line)[0]) for line in status if line.startswith("VmRSS"))
    return total / 1024


def _runtime(folder, engine: str, place: pathlib.Path) -> float:
    """images/s of the runtime's command, without what it takes to begin: of all images against of one."""

    def seconds(images) -> float:
        command = [sys.executable, "-m", "semi_anogan.export.runtime", f"--bundle={folder}"]
        command += [f"--engine={engine}", f"--input={images}", f"--output={place / 'out'}", "--overlays=none"]
        begun = time.monotonic()
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise RunError("the runtime failed; its error stands above")
        return time.monotonic() - begun

    few = place / "few.csv"
    paths = [str(p) for p in sorted((place / "in").iterdir())]
    few.write_text("path\n" + paths[0] + "\n")
    many = place / "many.csv"
    many.write_text("path\n" + "\n".join(paths * 4) + "\n")
    return (4 * IMAGES - 1) / (seconds(many) - seconds(few))
