"""The addresses of the service: /score, /health, /metrics, /docs."""

import asyncio
import collections
import contextlib
import html
import time
from typing import Annotated

import pydantic
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from semi_anogan.serve.answers import Job
from semi_anogan.serve.queue import Closed, Full, ScoringQueue
from semi_anogan.serve.worker import Died

MOST_IMAGES = 64  # of one request
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)  # of the histogram of answers


class Options(pydantic.BaseModel):
    """What an address may say after its `?`."""

    model_config = {"extra": "forbid"}

    threshold: float | None = pydantic.Field(
        None, allow_inf_nan=False, description="abnormal above this score, not the service's threshold"
    )
    false_alarm_rate: float | None = pydantic.Field(
        None, gt=0, lt=1, allow_inf_nan=False, description="or above the threshold for this rate"
    )
    overlay: bool = pydantic.Field(False, description="a picture of the regions too: PNG, in base64")
    product: str | None = pydantic.Field(
        None, description="whose image it is, where the bundle is of several products; /health has the names"
    )

    @pydantic.model_validator(mode="after")
    def _one_threshold(self):
        if self.threshold is not None and self.false_alarm_rate is not None:
            raise ValueError("give threshold or false_alarm_rate, not both")
        return self


def make_app(queue: ScoringQueue, seconds: float, name: str = "") -> FastAPI:
    """The application.

    Args: queue: closed when the application ends; seconds: that an answer may take; name: of the bundle.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        await asyncio.to_thread(queue.close)

    app = FastAPI(title="semi_anogan", docs_url=None, redoc_url=None, lifespan=lifespan)
    metrics = _Metrics(queue)

    @app.exception_handler(RequestValidationError)
    async def refused(request, error):
        # Not the value itself: NaN is no JSON.
        places = [".".join(map(str, e["loc"][1:])) for e in error.errors()]
        told = [e["msg"].removeprefix("Value error, ") for e in error.errors()]
        told = "; ".join(": ".join(filter(None, pair)) for pair in zip(places, told, strict=True))
        return JSONResponse({"detail": told}, 422)

    @app.post("/score", openapi_extra=_BODY)
    async def score(request: Request, options: Annotated[Options, Query()]):
        """Scores one image, the body, or several, the files of a form."""
        begun = time.monotonic()
        for name, times in collections.Counter(
            name for name, _ in request.query_params.multi_items()
        ).items():
            if times > 1:
                raise HTTPException(422, f"{name}: is given {times} times")
        if told := _product_trouble(options.product, queue.worker.products):
            raise HTTPException(422, told)
        images, form = await _images(request)
        jobs = [Job(content, **options.model_dump()) for _, content in images]
        try:
            futures = queue.add(jobs)
        except Full as error:
            metrics.refused.inc()
            raise HTTPException(429, str(error), {"Retry-After": "1"}) from None
        except Closed as error:
            raise HTTPException(503, str(error)) from None
        try:
            async with asyncio.timeout(seconds):
                found = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        except TimeoutError:
            metrics.late.inc()
            raise HTTPException(503, f"not scored after {seconds:g} s", {"Retry-After": "1"}) from None
        answers = [_answer(f) for f in found]
        metrics.told(answers, time.monotonic() - begun)
        if form:
            named = zip(images, answers, strict=True)
            return JSONResponse({"images": [{"name": name, **answer} for (name, _), answer in named]})
        if "error" in answers[0]:
            raise HTTPException(422, answers[0]["error"])
        return JSONResponse(answers[0])

    @app.head("/health", include_in_schema=False)  # as some load balancers ask
    @app.get("/health")
    async def health():
        """Whether images are scored, 503 where not; what has changed in them."""
        state = {"healthy": queue.healthy, "waiting": queue.waiting, "restarts": queue.restarts}
        state |= {"bundle": name, "products": list(queue.worker.products)}
        state["drift"] = list(queue.drift[1].values())
        return JSONResponse(state, 200 if queue.healthy else 503)

    @app.get("/metrics")
    async def metrics_text():
        """Figures in the text format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", response_class=HTMLResponse)
    async def docs():
        """This service in words. It needs nothing from elsewhere, so it shows without the internet too."""
        return _docs(app)

    return app


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
        },
    }
}


def _product_trouble(product: str | None, products) -> str | None:
    """Why no image can be of this product, or None."""
    if product is None:
        return f"product: name one; they are {', '.join(products)}" if products else None
    if product in products:
        return None
    return f"product: there is no {product!r}; " + (
        f"they are {', '.join(products)}" if products else "the service is of one product"
    )


async def _images(request: Request) -> tuple[list[tuple[str, bytes]], bool]:
    """([(name, content)], whether it was a form) of a request; HTTPException for what is neither."""
    given = request.headers.get("content-type", "application/octet-stream")
    kind = given.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        whole = _form_end(given) in await request.body()
        async with request.form(max_files=MOST_IMAGES, max_fields=0) as form:
            found = [(file.filename or "", await file.read()) for _, file in form.multi_items()]
        if found and not whole:  # an image in which it ends would be left out in silence
            raise HTTPException(422, "the form ends before its last boundary")
        if not found:
            raise HTTPException(422, "the form holds no file")
        return found, True
    if not (kind.startswith("image/") or kind == "application/octet-stream"):
        raise HTTPException(415, f"an image or a form of files is expected, got {kind!r}")
    content = await request.body()
    if not content:
        raise HTTPException(422, "the body is empty")
    return [("", content)], False


def _form_end(content_type: str) -> bytes:
    """What ends a form."""
    _, options = parse_options_header(content_type)
    return b"--" + options.get(b"boundary", b"") + b"--"


def _answer(found) -> dict:
    """What a future gave, as a dict."""
    if isinstance(found, Died):
        return {"error": f"this image {found}"}
    if isinstance(found, Closed):
        return {"error": str(found)}
    if isinstance(found, BaseException):
        raise found
    return found


class _Metrics:
    """The figures of /metrics."""

    def __init__(self, queue: ScoringQueue):
        own = {"namespace": "semi_anogan", "registry": CollectorRegistry()}
        self._registry = own["registry"]
        self._images = Counter("images", "images scored", ["label"], **own)
        self._errors = Counter("image_errors", "images that could not be scored", **own)
        self._seconds = Histogram("answer_seconds", "from a request to its answer", buckets=SECONDS, **own)
        self.refused = Counter("refused", "requests refused since too many images waited", **own)
        self.late = Counter("late", "requests that took too long", **own)
        of_latest = "share of the latest images that are not as normal ones were"
        self._queue, self._outside = queue, Gauge("outside", of_latest, ["quantity"], **own)
        self._changed = Gauge("changed", "1 where a change was found", ["quantity"], **own)
        Gauge("waiting", "images that wait", **own).set_function(lambda: queue.waiting)
        Gauge("worker_restarts", "workers replaced", **own).set_function(lambda: queue.restarts)

    def told(self, answers: list[dict], seconds: float):
        self._seconds.observe(seconds)
        for answer in answers:
            if "error" in answer:
                self._errors.inc()
            else:
                self._images.labels(answer["label"]).inc()

    def text(self) -> bytes:
        for name, values in self._queue.drift[0]["quantities"].items():
            self._outside.labels(name).set(values["outside"] / max(1, values["of"]))
            self._changed.labels(name).set(values["changed"])
        return generate_latest(self._registry)


def _docs(app: FastAPI) -> str:
    rows = []
    for route in app.routes:
        if getattr(route, "include_in_schema", False):
            method, told = ", ".join(sorted(route.methods)), html.escape(route.endpoint.__doc__ or "")
            rows.append(f"<tr><td>{method}</td><td>{route.path}</td><td>{told}</td></tr>")
    options = "".join(
        f"<tr><td>{name}</td><td>{html.escape(field.description)}</td></tr>"
        for name, field in Options.model_fields.items()
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>semi_anogan</title>
<style>body{{font:16px sans-serif;margin:2rem;max-width:50rem}}
td{{padding:.2rem .8rem .2rem 0;vertical-align:top}}
pre{{background:#eee;padding:.6rem}}</style>
<h1>semi_anogan</h1><table>{"".join(rows)}</table>
<h2>Score</h2><pre>curl --data-binary @part.png -H "Content-Type: image/png" "http://HOST:PORT/score?overlay=true"
curl -F image=@one.png -F image=@two.png http://HOST:PORT/score</pre>
<table>{options}</table>
<p>An answer has score, label, p_value, threshold, regions and notes; of several images it is a list of these,
<code>images</code>, each with its name. An image that cannot be scored has <code>error</code> instead.
All of it for programs: <a href="openapi.json">openapi.json</a>.</p></html>"""
