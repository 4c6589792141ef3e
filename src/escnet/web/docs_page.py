"""The page of the interface at /docs, made from the OpenAPI document by Swagger UI.

All of it comes from this service, the package fastapi-offline has the scripts; nothing is inline,
so that the policy of the other pages holds here, too.
"""

from importlib.resources import files

from fastapi import FastAPI, Response
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>escnet: the interface</title>
<link rel="stylesheet" href="docs-files/swagger-ui.css">
</head>
<body>
<div id="interface"></div>
<script src="docs-files/swagger-ui-bundle.js"></script>
<script src="docs.js"></script>
</body>
</html>
"""
_SCRIPT = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#interface", validatorUrl: null, syntaxHighlight: false,
});
"""


def add_docs_page(app: FastAPI) -> None:
    """Let the application serve the page."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(_PAGE)

    @app.get("/docs.js", include_in_schema=False)
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript")

    folder = str(files("fastapi_offline") / "static")
    app.mount("/docs-files", StaticFiles(directory=folder), name="docs-files")
