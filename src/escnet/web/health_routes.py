"""Whether the service is there, whether it can compute, and what it has counted."""

from fastapi import APIRouter, Response

from escnet.web.messages import Health
from escnet.web.service import Service


def health_routes(service: Service) -> APIRouter:
    """The routes for who runs the service."""
    router = APIRouter()

    @router.get("/healthz", summary="Whether the service answers")
    async def healthz() -> Health:
        return Health(status="ok")

    @router.get(
        "/readyz",
        summary="Whether it takes requests",
        responses={503: {"model": Health, "description": "It is starting or stopping."}},
    )
    async def readyz(response: Response) -> Health:
        if service.workers.is_ready:
            return Health(status="ok")
        response.status_code = 503
        return Health(status="stopping" if service.workers.is_stopping else "starting")

    @router.get("/metrics", summary="Counters in Prometheus's format", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    return router
