"""The application: routes, errors in one line, and the door before them."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles

from escnet.web.batch_routes import batch_routes
from escnet.web.docs_page import add_docs_page
from escnet.web.door import Door
from escnet.web.export_routes import export_routes
from escnet.web.health_routes import health_routes
from escnet.web.jobs import Jobs
from escnet.web.refusal import BUG, Refusal, shortened
from escnet.web.segment_routes import names_routes, segment_routes
from escnet.web.service import Service

_PAGE_FOLDER = Path(__file__).parent / "page"
_ABOUT = "Segment pictures by the names of things, any names."


def make_app(
    service: Service, *, token: str | None = None, hosts: Collection[str] | None = None
) -> Door:
    """The application of a service.

    Args:
        service: Its parts; its workers have started.
        token: What clients have to show; None lets everyone in.
        hosts: The names by which the service may be called; None for any.
    """
    jobs = Jobs(service, service.limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await jobs.close()
        service.workers.close()

    app = FastAPI(
        title="escnet",
        version=version("escnet"),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.include_router(segment_routes(service))
    app.include_router(batch_routes(service, jobs))
    app.include_router(export_routes(service))
    app.include_router(names_routes(service))
    app.include_router(health_routes(service))
    _add_errors(app)
    add_docs_page(app)
    app.mount("/", StaticFiles(directory=_PAGE_FOLDER, html=True), name="page")
    return Door(app, limits=service.limits, metrics=service.metrics, token=token, hosts=hosts)


def _add_errors(app: FastAPI) -> None:
    """Every error is one line of JSON."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(
            {"error": refusal.message}, status_code=refusal.status, headers=refusal.headers
        )

    @app.exception_handler(StarletteHTTPException)
    async def no_route(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(
            {"error": f"{shortened(str(error.detail)).lower()}: see /docs"},
            status_code=error.status_code,
            headers=error.headers,
        )

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": BUG}, status_code=500)  # the door logs it

    @app.exception_handler(RequestValidationError)
    async def wrong_value(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse(
            {"error": f"{shortened(where)}: {shortened(first['msg'], 200)}"}, status_code=422
        )
