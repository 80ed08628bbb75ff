"""python -m semi_anogan.serve: scores images that come over HTTP, with a bundle, without TensorFlow.

  python -m semi_anogan.serve --bundle=BUNDLE --engine=onnx
  curl --data-binary @part.png -H "Content-Type: image/png" http://127.0.0.1:8000/score

It answers in JSON: score, label, p_value, threshold and regions. /docs says more. It is bound to this machine
unless --host says otherwise; then a token is asked for.
"""

import argparse
import math
import os
import pathlib
import sys

from semi_anogan.errors import RunError, UserError
from semi_anogan.listening import address, listen, serve

ENGINES = ("onnx", "tflite", "tensorrt")
TOKEN = "SEMI_ANOGAN_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments=None) -> int:
    """Runs the service until it is asked to end; returns the exit code."""
    options = _options(arguments)
    try:
        token = _token(options)
        try:
            import uvicorn  # noqa: F401

            from semi_anogan.serve.app import make_app
            from semi_anogan.serve.connections import protocol
        except ImportError as error:
            raise RunError(f"the service is not installed ({error}): install the extra serve") from error
        from semi_anogan.serve.limits import Limits
        from semi_anogan.serve.queue import ScoringQueue
        from semi_anogan.serve.worker import Settings, Worker, WorkerError

        listening = listen(options.host, options.port)
        settings = Settings(
            options.bundle,
            options.engine,
            options.precision,
            options.batch,
            options.threads,
            tuple(options.providers.split(",")) if options.providers else (),
            options.threshold,
            options.false_alarm_rate,
            options.review_band,
            options.max_pixels,
            options.product,
        )
        try:
            queue = ScoringQueue(lambda: Worker(settings), options.waiting, options.seconds)
        except WorkerError as error:
            raise RunError(str(error)) from error
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in queue.worker.lines:
        print(f"note: {line}")
    _many_connections()
    app = make_app(queue, options.seconds, pathlib.Path(options.bundle).name)
    app.add_middleware(
        Limits,
        token=token,
        max_bytes=options.max_bytes,
        all_bytes=8 * options.max_bytes,
        seconds=options.seconds,
    )
    print(f"batches of up to {queue.worker.batch_size}; {address(listening, options.host)}/docs", flush=True)
    try:
        serve(
            app,
            listening,
            http=protocol(options.seconds),
            timeout_graceful_shutdown=round(options.seconds) + 1,
        )
    finally:
        queue.close(0)
    return 0


def _token(options) -> str | None:
    """The token that requests must have; RunError where one is needed and there is none."""
    token = os.environ.get(TOKEN, "").strip()  # a header has no end of line
    if options.token_file:
        try:
            token = pathlib.Path(options.token_file).read_text().strip()
        except OSError as error:
            raise RunError(f"{options.token_file}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RunError(f"{options.token_file}: the token must be of ASCII characters") from error
        if not token:
            raise RunError(f"{options.token_file}: holds no token")
    if not (token.isascii() and token.isprintable()):
        raise RunError("the token must be of printable ASCII characters")
    if not token and options.host not in LOOPBACK:
        raise RunError(
            f"--host={options.host} opens the service to other machines: give a token by --token_file=FILE "
            f"or the environment's {TOKEN}"
        )
    return token or None


def _many_connections():
    """Lets the process hold as many connections as the system allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", required=True, help="folder that the export command wrote")
    parser.add_argument("--engine", required=True, choices=ENGINES)
    parser.add_argument("--product", help="of a bundle of several, the only one that is scored")
    parser.add_argument("--precision", default="float32", help="as exported; default float32")
    parser.add_argument("--batch", type=int, help="images scored at once, as exported; default the largest")
    parser.add_argument("--threads", type=int, help="of the CPU engines; default all cores")
    parser.add_argument("--providers", help="execution providers of ONNX Runtime, with commas between")
    parser.add_argument("--threshold", type=float, help="abnormal above this score, not the run's threshold")
    parser.add_argument("--false_alarm_rate", type=float, help="or above the threshold for this rate")
    parser.add_argument("--review_band", help='or LOW,HIGH: "look" between the thresholds for two rates')
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--token_file", help=f"file with the token that requests must have; default the environment's {TOKEN}"
    )
    parser.add_argument("--waiting", type=int, default=64, help="images that may wait; default 64")
    parser.add_argument("--seconds", type=float, default=30.0, help="that an answer may take; default 30")
    parser.add_argument(
        "--max_bytes",
        type=int,
        default=64 << 20,
        help="of a request; default 64 MiB, all at once 8 times that",
    )
    parser.add_argument(
        "--max_pixels", type=int, default=100_000_000, help="of an image; default 100 million"
    )
    options = parser.parse_args(arguments)
    for name in ("waiting", "seconds", "max_bytes", "max_pixels", "batch", "threads"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:  # NaN fails too
            parser.error(f"--{name} must be above 0, got {value}")
    return options


if __name__ == "__main__":
    sys.exit(main())
