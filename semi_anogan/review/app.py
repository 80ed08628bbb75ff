"""The addresses of the review page."""

import contextlib
import importlib.resources
import json
from typing import Annotated

import pydantic
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from semi_anogan.errors import UserError
from semi_anogan.review import figures
from semi_anogan.review.entries import LISTS, Entry
from semi_anogan.review.pictures import LARGE
from semi_anogan.review.reviewed_csv import Conflict
from semi_anogan.review.state import MOST_ROWS, Review
from semi_anogan.review.why import NotNow
from semi_anogan.scoring.outputs import MAPS, OVERLAYS

# The files of the page, and no others. Those of SHARED are the report's, too, and lie beside it.
SHARED = ("basics.js", "scores.js")
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    **{
        f"{name}.js": "text/javascript; charset=utf-8"
        for name in ("ask", "main", "strip", "picture", "zoom", "why", "sort", "threshold", "refit")
    },
    **dict.fromkeys(SHARED, "text/javascript; charset=utf-8"),
}


class Said(pydantic.BaseModel):
    """A label that the page gives an image. mask: None leaves it as it is."""

    model_config = {"extra": "forbid"}

    revision: str
    label: str
    kind: str = ""
    mask: str | None = None
    who: str = ""


class Wanted(pydantic.BaseModel):
    """A threshold that the page asks for."""

    model_config = {"extra": "forbid"}

    threshold: float = pydantic.Field(allow_inf_nan=False)
    who: str = ""


class Json(Response):
    """JSON in ASCII: names of files may be no text. Numbers that JSON has not are null."""

    media_type = "application/json"

    def render(self, content) -> bytes:
        return json.dumps(figures.finite(content), allow_nan=False).encode("ascii")


def make_app(review: Review) -> FastAPI:
    """The application; `review` is closed when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        review.close()

    app = FastAPI(title="review", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _errors(app, review)
    _page(app)
    _images(app, review)
    _labels(app, review)
    _detector(app, review)
    return app


def _errors(app: FastAPI, review: Review):
    @app.exception_handler(UserError)
    def told(request, error):
        return Json({"detail": str(error)}, 422)

    @app.exception_handler(NotNow)
    def not_now(request, error):
        return Json({"detail": str(error)}, 503)

    @app.exception_handler(Conflict)
    def conflict(request, error):
        entry = review.entry(int(request.path_params["index"]))
        return Json({"detail": str(error), "item": review.item(entry)}, 409)

    @app.exception_handler(RequestValidationError)
    def refused(request, error):
        told = [".".join(map(str, e["loc"][1:])) + ": " + e["msg"] for e in error.errors()]
        return Json({"detail": "; ".join(told)}, 422)


def _page(app: FastAPI):
    page = importlib.resources.files("semi_anogan.review") / "page"
    shared = importlib.resources.files("semi_anogan.evaluation.report")

    def content(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "there is no such file of the page")
        place = shared if name in SHARED else page
        return Response((place / name).read_bytes(), media_type=FILES[name])

    @app.get("/")
    def index():
        return content("index.html")

    @app.get("/page/{name}")
    def file(name: str):
        return content(name)


def _entry(review: Review, index: int) -> Entry:
    try:
        return review.entry(index)
    except KeyError:
        raise HTTPException(404, f"there is no image {index}") from None


def _images(app: FastAPI, review: Review):
    @app.get("/api/state")
    def state():
        return Json(review.told())

    @app.get("/api/list/{name}")
    def listed(
        name: str,
        start: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
        fresh: bool = False,
    ):
        if name not in LISTS:
            raise HTTPException(404, f"there is no list {name!r}; there are {', '.join(LISTS)}")
        found = review.listed(name, fresh)
        items = [review.item(entry) for entry in found[start : start + count]]
        return Json({"total": len(found), "start": start, "items": items})

    @app.get("/api/image/{index}")
    def details(index: int):
        return Json(review.details(_entry(review, index)))

    @app.get("/api/known")
    def known(kind: str):
        return Json({"items": [{"id": e.index, "path": e.path} for e in review.known(kind)]})

    @app.get("/api/picture/{index}")
    def picture(index: int):
        return Response(review.pictures.large(_entry(review, index)), media_type="image/png")

    @app.get("/api/thumb/{index}")
    def thumb(index: int):
        return Response(review.pictures.thumb(_entry(review, index)), media_type="image/jpeg")

    @app.get("/api/part/{index}")
    def part(
        index: int,
        top: Annotated[int, Query(ge=0)],
        left: Annotated[int, Query(ge=0)],
        height: Annotated[int, Query(ge=1, le=LARGE)],
        width: Annotated[int, Query(ge=1, le=LARGE)],
    ):
        content = review.pictures.part(_entry(review, index), top, left, height, width)
        return Response(content, media_type="image/png")

    @app.get("/api/why/{index}")
    def why(
        index: int,
        y: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
        x: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
        drawn: bool = False,
    ):
        if (y is None) != (x is None):
            raise HTTPException(422, "x and y belong together")
        return Json(review.why_of(_entry(review, index), None if y is None else (y, x), drawn))

    @app.get("/api/overlay/{index}")
    def overlay(index: int):
        return _file(review.picture(_entry(review, index), OVERLAYS), "overlay")

    @app.get("/api/map/{index}")
    def anomaly_map(index: int):
        return _file(review.picture(_entry(review, index), MAPS), "map")

    @app.get("/api/mask/{index}")
    def mask(index: int):
        entry = _entry(review, index)
        path = review.reviewed.mask_path(review.reviewed.row(entry))
        if path is None:
            raise HTTPException(404, "no mask was drawn for this image")
        return Response(review.pictures.mask_picture(entry, path), media_type="image/png")

    def _file(path, what: str) -> Response:
        if path is None:
            raise HTTPException(404, f"there is no {what} of this image")
        return FileResponse(path)


def _labels(app: FastAPI, review: Review):
    @app.put("/api/label/{index}")
    def label(index: int, said: Said):
        entry = _entry(review, index)
        review.label(entry, said.revision, said.label, said.kind, said.mask, said.who)
        return Json(review.item(entry))

    @app.put("/api/mask/{index}")
    async def draw(index: int, request: Request, revision: str, who: str = ""):
        if request.headers.get("content-type") != "image/png":
            raise HTTPException(415, "a mask is sent as image/png")
        content = await request.body()
        from starlette.concurrency import run_in_threadpool

        entry = _entry(review, index)
        await run_in_threadpool(review.draw, entry, revision, content, who)
        return Json(review.item(entry))


def _detector(app: FastAPI, review: Review):
    @app.get("/api/scores")
    def scores():
        return Json({"groups": figures.groups(review.folder, review.entries)})

    @app.get("/api/rate")
    def rate(threshold: Annotated[float, Query(allow_inf_nan=False)]):
        """The share of normal images above a threshold, as the run's normal scores say."""
        calibration = figures.calibration_of(review.folder)
        return Json({"rate": calibration.rate(threshold), "normals": len(calibration.normal_scores)})

    @app.put("/api/threshold")
    def choose(wanted: Wanted):
        review.choose(wanted.threshold, wanted.who)
        return Json(review.told())

    @app.delete("/api/threshold")
    def calibrated():
        review.choose(None)
        return Json(review.told())

    @app.get("/api/refit")
    def refit():
        told = review.refit.told()
        running = told["state"] == "running"
        return Json({**told, "compared": None if running else review.compared()})

    @app.post("/api/refit")
    def begin():
        review.begin_refit()
        return Json(review.refit.told())

    @app.delete("/api/refit")
    def stop():
        review.refit.stop()
        return Json(review.refit.told())

    @app.post("/api/refit/undo")
    def undo():
        review.undo_refit()
        return Json(review.told())
