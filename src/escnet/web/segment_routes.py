"""`POST /v1/segment`, `GET /v1/models`, and lists of names."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from escnet.web.export_task import EXPORT_FORMATS
from escnet.web.messages import (
    Answer,
    AskedOfPicture,
    ModelsAnswer,
    NamesAnswer,
    Problem,
    QueriesAnswer,
    StoredAnswer,
)
from escnet.web.refusal import Refusal
from escnet.web.requests import AskedByForm, read_enquiry
from escnet.web.service import Service, while_connected
from escnet.web.worker import NamesTask

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": about}
    for status, about in {
        400: "The request cannot be read.",
        401: "The token is missing.",
        403: "Asked from another host or origin.",
        404: "There is no such thing.",
        408: "The request came too slowly.",
        413: "Beyond a limit of size.",
        415: "Another content type.",
        422: "A value, a name or the picture is at fault.",
        429: "Too many requests a minute.",
        500: "An error of the service.",
        503: "Too many wait, or the service is stopping.",
        504: "Computing took too long and was stopped.",
        507: "Too many things are stored.",
    }.items()
}
ListName = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def body_of(**schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of a body that is read by hand; a kind's slash is a double underscore."""
    content = {
        kind.replace("__", "/").replace("_", "-"): {"schema": schema}
        for kind, schema in schemas.items()
    }
    return {"requestBody": {"required": True, "content": content}}


_LIST_BODY = body_of(
    text__plain={"type": "string", "examples": ["road\ncar=car|truck\nsky"]},
    application__json={
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ]
    },
)


def segment_routes(service: Service) -> APIRouter:
    """The routes around one picture."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS)

    @router.post(
        "/segment",
        response_model=Answer,
        summary="One label for every pixel of a picture",
        openapi_extra=body_of(
            multipart__form_data=AskedByForm.model_json_schema(),
            application__json=AskedOfPicture.model_json_schema(),
        ),
    )
    async def segment(request: Request) -> Response:
        with service.gate.inside():
            enquiry = await read_enquiry(request, service.limits)
            names = service.names_of(enquiry)
            work = service.segment(enquiry.pictures[0].content, names, enquiry.asked)
            answer = await while_connected(request, work)
        return Response(answer, media_type="application/json")

    @router.get("/models", summary="The models, the formats of files, and the limits")
    async def models() -> ModelsAnswer:
        about = service.workers.about
        return ModelsAnswer(
            models=[] if about is None else [about],
            formats={kind: form.about for kind, form in EXPORT_FORMATS.items()},
            limits=service.limits.as_numbers(),
        )

    return router


def names_routes(service: Service) -> APIRouter:
    """The routes of the stored lists."""
    router = APIRouter(prefix="/v1/names", responses=PROBLEMS)

    @router.get("", summary="What the stored lists are called")
    async def all_lists() -> StoredAnswer:
        return StoredAnswer(lists=service.stored_names.names())

    @router.post("", summary="How a class list of any tool is read", openapi_extra=_LIST_BODY)
    async def read(request: Request) -> QueriesAnswer:
        return QueriesAnswer(names=(await _read_list(request, service))[1])

    @router.put("/{name}", summary="Store a class list of any tool", openapi_extra=_LIST_BODY)
    async def put(name: ListName, request: Request) -> NamesAnswer:
        content, names = await _read_list(request, service)
        return service.stored_names.put(name, content, names)

    @router.get("/{name}", summary="A stored list")
    async def get(name: ListName) -> NamesAnswer:
        return service.stored_names.get(name)

    @router.delete("/{name}", status_code=204, summary="Forget a stored list")
    async def delete(name: ListName) -> Response:
        service.stored_names.delete(name)
        return Response(status_code=204)

    return router


async def _read_list(request: Request, service: Service) -> tuple[bytes, dict[str, list[str]]]:
    """A list as it came, and the queries of each of its labels."""
    with service.gate.inside():
        content = await _limited_body(request, service.limits.max_names_bytes)
        return content, await while_connected(request, service.workers.run(NamesTask(content)))


async def _limited_body(request: Request, most: int) -> bytes:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise Refusal(413, f"class names are above the limit of {most} bytes: give fewer")
    return content
