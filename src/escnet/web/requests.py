"""A request's body, a form or JSON, as what is asked; names and pictures are parsed in a worker."""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic.config import JsonDict
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from escnet.web.limits import Limits
from escnet.web.messages import Asked, AskedOfPicture, Names
from escnet.web.refusal import Refusal, shortened

_MOST_FIELDS = 40
FILE: JsonDict = {"format": "binary"}  # what OpenAPI calls a file's field
FILES: JsonDict = {"items": {"type": "string", **FILE}}
_Model = TypeVar("_Model", bound=BaseModel)


class AskedByForm(Asked):
    """What is asked as the fields of a form."""

    names: str | None = Field(None, description="As text, or the content of a class list.")
    names_file: str | None = Field(
        None, description="A file with class names, of any tool.", json_schema_extra=FILE
    )
    picture: str = Field(description="The picture's file.", json_schema_extra=FILE)


class AskedByBatchForm(Asked):
    """What is asked of several pictures as the fields of a form."""

    names: str | None = Field(None, description="As text, or the content of a class list.")
    names_file: str | None = Field(
        None, description="A file with class names, of any tool.", json_schema_extra=FILE
    )
    pictures: list[str] = Field(description="The pictures' files.", json_schema_extra=FILES)


class Upload(NamedTuple):
    """A file that came, and how its client calls it."""

    file: str
    content: bytes


class Enquiry(NamedTuple):
    """A request that was read.

    Attributes:
        pictures: Their files.
        names: As they came; None for a stored list.
        asked: The rest.
    """

    pictures: list[Upload]
    names: Names | bytes | None
    asked: Asked


async def read_enquiry(request: Request, limits: Limits) -> Enquiry:
    """What a request asks of one picture.

    Raises:
        Refusal: If the body is neither a form nor JSON of the known fields, or beyond a limit.
    """
    kind = content_type(request)
    if kind == "application/json":
        asked = parsed(AskedOfPicture, await request.body())
        content = _from_base64(asked.picture)
        return _checked(Enquiry([Upload("picture", content)], asked.names, asked), limits)
    if kind == "multipart/form-data":
        return await read_form(request, limits, "picture", most_pictures=1)
    raise Refusal(
        415,
        f"content type {shortened(kind) or 'none'} is not read: send multipart/form-data or "
        "application/json",
    )


async def read_form(request: Request, limits: Limits, field: str, *, most_pictures: int) -> Enquiry:
    """What a form asks of its pictures.

    Args:
        request: With a form.
        limits: Of names.
        field: The pictures' own.
        most_pictures: How many there may be.

    Raises:
        Refusal: If it cannot be read, or is beyond a limit.
    """
    async with opened_form(request, limits, most_files=most_pictures + 1) as form:
        pictures = await uploads_of(form, field, most_pictures)
        files = [await _upload(one, "names_file") for one in form.getlist("names_file")]
        asked = validated(Asked, form_values(form, {field, "names_file"}))
    if files and asked.names is not None:
        raise Refusal(422, "class names come from names and names_file: give one of them")
    names = files[0].content if files else asked.names
    return _checked(Enquiry(pictures, names, asked), limits)


async def uploads_of(form: FormData, field: str, most: int) -> list[Upload]:
    """The files of a field, at least one.

    Raises:
        Refusal: If there is none, there are too many, or one is text.
    """
    uploads = [await _upload(one, field) for one in form.getlist(field)]
    if not uploads:
        raise Refusal(422, f"no {field}: send the file as the field {field}")
    if len(uploads) > most:
        raise Refusal(
            413, f"{len(uploads)} {field} are above the limit of {most}: send fewer at a time"
        )
    return uploads


@asynccontextmanager
async def opened_form(
    request: Request, limits: Limits, *, most_files: int
) -> AsyncIterator[FormData]:
    """A request's form, whose files are gone afterwards.

    Raises:
        Refusal: If it cannot be read.
    """
    if content_type(request) != "multipart/form-data":
        raise Refusal(415, "content type is not read here: send multipart/form-data")
    try:
        async with request.form(
            max_files=most_files, max_fields=_MOST_FIELDS, max_part_size=limits.max_batch_bytes
        ) as form:
            yield form
    except HTTPException as error:  # of the parser
        raise Refusal(400, f"form cannot be read: {shortened(str(error.detail), 100)}") from None


def form_values(form: FormData, files: set[str]) -> dict[str, Any]:
    """The fields that are text, of which lists may come several times, or between commas."""
    values: dict[str, Any] = {}
    for key, value in form.multi_items():
        if key in files or value == "":
            continue
        if not isinstance(value, str):
            raise Refusal(422, f"field {shortened(key)} is a file: send it as text")
        if key in {"answer", "formats"}:
            values.setdefault(key, []).extend(part.strip() for part in value.split(","))
        else:
            values[key] = value
    return values


def content_type(request: Request) -> str:
    """The body's, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parsed(model: type[_Model], body: bytes) -> _Model:
    """JSON as a model.

    Raises:
        Refusal: If it is not JSON, or has another shape.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise shape_refusal(error) from None


def validated(model: type[_Model], values: dict[str, Any]) -> _Model:
    """Values as a model.

    Raises:
        Refusal: If they have another shape.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise shape_refusal(error) from None


def shape_refusal(error: ValidationError) -> Refusal:
    """The first thing that is wrong in a request, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "request"
    status = 400 if first["type"] == "json_invalid" else 422
    return Refusal(status, f"{shortened(where)}: {shortened(first['msg'], 200)}")


async def _upload(value: object, field: str) -> Upload:
    if not isinstance(value, UploadFile):
        raise Refusal(422, f"field {field} is text: send it as a file")
    return Upload(PurePath((value.filename or "").replace("\\", "/")).name, await value.read())


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):  # as browsers give it
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, "picture is not base64: encode the file's bytes") from None


def _checked(enquiry: Enquiry, limits: Limits) -> Enquiry:
    check_names(enquiry.names, enquiry.asked.stored_names, limits)
    return enquiry


def check_names(names: Names | bytes | None, stored: str | None, limits: Limits) -> None:
    """Make sure that there is one list of names, and that it is not too long.

    Raises:
        Refusal: If not.
    """
    if (names is None) == (stored is None):
        raise Refusal(
            422, 'no class names, or two lists of them: give names ("road, sky") or stored_names'
        )
    size = num_bytes_of(names)
    if size > limits.max_names_bytes:
        raise Refusal(
            413,
            f"class names of {size} bytes are above the limit of {limits.max_names_bytes}: "
            "give fewer",
        )


def num_bytes_of(names: Names | bytes | None) -> int:
    """How large names are, as they came."""
    if isinstance(names, str | bytes):
        return len(names)
    if isinstance(names, dict):
        return sum(len(label) + num_bytes_of(own) for label, own in names.items())
    return sum(len(name) + 1 for name in names or ())
