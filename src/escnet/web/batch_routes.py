"""`POST /v1/batch`, and the routes by which a batch is followed, fetched and cancelled."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from starlette.responses import StreamingResponse

from escnet.web.jobs import Job, Jobs
from escnet.web.messages import Answer, JobAnswer
from escnet.web.requests import AskedByBatchForm, read_form
from escnet.web.segment_routes import PROBLEMS, body_of
from escnet.web.service import Service

JobId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def batch_routes(service: Service, jobs: Jobs) -> APIRouter:
    """The routes around many pictures."""
    router = APIRouter(prefix="/v1/batch", responses=PROBLEMS)

    @router.post(
        "",
        status_code=202,
        response_model=JobAnswer,
        summary="Begin with several pictures of the same names",
        openapi_extra=body_of(multipart__form_data=AskedByBatchForm.model_json_schema()),
    )
    async def begin(request: Request, response: Response) -> JobAnswer:
        with service.gate.inside():
            jobs.check_room()
            most = service.limits.max_pictures
            enquiry = await read_form(request, service.limits, "pictures", most_pictures=most)
            job = jobs.add(enquiry.pictures, service.names_of(enquiry), enquiry.asked)
        response.headers["Location"] = f"/v1/batch/{job.id}"
        return job.told

    @router.get("/{job_id}", summary="How far a batch is")
    async def state(job_id: JobId) -> JobAnswer:
        return jobs.get(job_id).told

    @router.get(
        "/{job_id}/events",
        summary="A batch's pictures as server-sent events, until it is done",
        response_class=StreamingResponse,
    )
    async def events(job_id: JobId) -> StreamingResponse:
        stream = _event_stream(jobs.get(job_id))
        return StreamingResponse(stream, media_type="text/event-stream")

    @router.get(
        "/{job_id}/pictures/{number}",
        response_model=Answer,
        summary="The answer for one picture of a batch, counted from 1",
    )
    async def picture(job_id: JobId, number: Annotated[int, InPath(ge=1, le=10**6)]) -> Response:
        return Response(jobs.get(job_id).answer(number), media_type="application/json")

    @router.delete("/{job_id}", status_code=204, summary="Cancel a batch, or forget it")
    async def delete(job_id: JobId) -> Response:
        await jobs.delete(job_id)
        return Response(status_code=204)

    return router


async def _event_stream(job: Job) -> AsyncIterator[str]:
    async for state in job.events():
        if state is None:
            yield ": still here\n\n"  # so that nothing between closes the connection
        else:
            yield f"event: picture\ndata: {state.model_dump_json()}\n\n"
    yield f"event: end\ndata: {job.told.model_dump_json()}\n\n"
