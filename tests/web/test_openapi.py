"""The service does what its OpenAPI document says, whatever is sent."""

import shutil
import subprocess
from dataclasses import replace

import httpx
import pytest
from running import SMALL, running_service

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_every_route_says_what_it_does_and_how_it_refuses(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    routes = {
        f"{method.upper()} {path}": route
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    }
    assert "POST /v1/segment" in routes
    for name, route in routes.items():
        assert route["summary"], name
        if "/v1/" in name:
            assert {"401", "422", "429", "503"} <= set(route["responses"]), name


def test_the_example_of_the_interface_is_answered(http: httpx.Client) -> None:
    schema = http.get("/openapi.json").json()["paths"]["/v1/segment"]["post"]["requestBody"]
    properties = schema["content"]["application/json"]["schema"]["properties"]
    example = {key: properties[key]["examples"][0] for key in ("picture", "names")}
    assert http.post("/v1/segment", json=example).status_code == 200


@pytest.mark.slow  # a minute
@pytest.mark.skipif(
    shutil.which("schemathesis") is None, reason="schemathesis is not installed: pip install it"
)
def test_no_request_that_schemathesis_thinks_of_breaks_the_service() -> None:
    limits = replace(SMALL, max_jobs=10**6, max_lists=10**6, job_seconds=2.0)
    with running_service(limits) as url:
        command = ["schemathesis", "run", f"{url}/openapi.json", "--max-examples", "40"]
        command += ["--checks", ",".join(_CHECKS), "--request-timeout", "20"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-5000:]
