"""`POST /v1/export`: label maps, corrected ones too, as files for other programs."""

from fastapi import APIRouter, Request, Response
from pydantic import Field

from escnet.web.export_task import ExportTask
from escnet.web.messages import AskedExport
from escnet.web.refusal import Refusal
from escnet.web.requests import (
    FILES,
    check_names,
    form_values,
    opened_form,
    uploads_of,
    validated,
)
from escnet.web.segment_routes import PROBLEMS, body_of
from escnet.web.service import Service, while_connected


class AskedExportByForm(AskedExport):
    """What is asked as the fields of a form."""

    names: str | None = Field(None, description="As text, or the content of a class list.")
    pictures: list[str] = Field(description="The pictures' files.", json_schema_extra=FILES)
    label_maps: list[str] = Field(
        description="Their label maps: grey or indexed PNG; or RGB, red + 256 x green.",
        json_schema_extra=FILES,
    )


def export_routes(service: Service) -> APIRouter:
    """The route of files."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS)

    @router.post(
        "/export",
        response_class=Response,
        responses={200: {"content": {"application/zip": {}}}},
        summary="Label maps as files of any format, in a zip",
        openapi_extra=body_of(multipart__form_data=AskedExportByForm.model_json_schema()),
    )
    async def export(request: Request) -> Response:
        with service.gate.inside():
            task = await _read_task(request, service)
            content = await while_connected(request, service.workers.run(task))
        return Response(content, media_type="application/zip")

    return router


async def _read_task(request: Request, service: Service) -> ExportTask:
    limits = service.limits
    most = limits.max_pictures
    async with opened_form(request, limits, most_files=2 * most) as form:
        pictures = await uploads_of(form, "pictures", most)
        label_maps = await uploads_of(form, "label_maps", most)
        asked = validated(AskedExport, form_values(form, {"pictures", "label_maps"}))
    if len(pictures) != len(label_maps):
        raise Refusal(
            422,
            f"{len(pictures)} pictures have {len(label_maps)} label maps: send one for each",
        )
    check_names(asked.names, asked.stored_names, limits)
    return ExportTask(
        pictures=pictures,
        label_maps=label_maps,
        names=service.chosen_names(asked.names, asked.stored_names),
        asked=asked,
    )
