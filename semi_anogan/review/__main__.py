"""python -m semi_anogan.review: a page to sort images of a run, move its threshold and fit its detector anew.

  python -m semi_anogan.review --workdir=RUN
  python -m semi_anogan.review --workdir=RUN --scored=DIR

Open the address that it prints. What you say is kept in RUN/reviewed.csv and RUN/masks/. DIR is an --output
of `score`. The page is for this machine alone, unless --host says otherwise; then the address has a token.
"""

import argparse
import getpass
import os
import re
import secrets
import sys

from semi_anogan.errors import RunError, UserError
from semi_anogan.listening import address, listen, serve

TOKEN = "SEMI_ANOGAN_TOKEN"
MAX_BYTES = 64 << 20  # of a request: a mask


def main(arguments=None) -> int:
    """Serves the page until it is asked to end; returns the exit code."""
    options = _options(arguments)
    try:
        if options.import_labels or options.export_labels:
            from semi_anogan.review.exchange import exchange

            return exchange(options, _who(options.who))
        try:
            import uvicorn  # noqa: F401

            from semi_anogan.review.app import make_app
        except ImportError as error:
            raise RunError(f"the review page is not installed ({error}): install the extra review") from error
        from semi_anogan.review.guard import LOOPBACK, Guard
        from semi_anogan.review.state import Review

        token = None if options.host in LOOPBACK else _token()
        listening = listen(options.host, options.port)
        review = Review(options.workdir, options.scored, _who(options.who), options.data_root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in review.notes:
        print(f"note: {line}")
    app = make_app(review)
    app.add_middleware(Guard, token=token, max_bytes=MAX_BYTES)
    asked = "" if token is None else f"?token={token}"
    print(f"open {address(listening, options.host)}/{asked} in a browser; Ctrl-C ends it", flush=True)
    try:
        # An access log would show the token.
        serve(app, listening, access_log=False, timeout_graceful_shutdown=5)
    finally:
        review.close()
    return 0


def _token() -> str:
    """The token of the page's address; RunError for one that cannot stand there and in a cookie."""
    token = os.environ.get(TOKEN, "").strip() or secrets.token_urlsafe(24)
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
        raise RunError(
            f"{TOKEN}: the token may have letters, digits and . _ ~ - only, as it stands in an address"
        )
    return token


def _who(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.review",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", required=True, help="run folder of a finished training")
    parser.add_argument("--scored", help="folder that `score` wrote, to look at its images too")
    parser.add_argument("--data_root", help="folder of the run's images, where they were moved")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default 127.0.0.1")
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--who", help="name that is kept with each label; default the user's")
    exchanged = parser.add_mutually_exclusive_group()
    exchanged.add_argument(
        "--import_labels", metavar="PATH", help="COCO, labelme, folders or CSV to take labels from; no page"
    )
    exchanged.add_argument("--export_labels", metavar="PATH", help="where to write the labels; no page")
    parser.add_argument("--format", default="coco", help="of these: coco (default), labelme, folder, csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
