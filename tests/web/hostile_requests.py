"""Hostile requests to `POST /v1/segment`, each with the statuses that are right."""

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

_MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
JSON = {"content-type": "application/json"}


def _small_png() -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "PNG")
    return content.getvalue()


PNG = _small_png()
TEXT = base64.b64encode(PNG).decode()


def _header_only(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, and that has no pixels."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bomb(side: int) -> bytes:
    content = BytesIO()
    Image.new("1", (side, side)).save(content, "PNG")
    return content.getvalue()


def _text_bomb() -> bytes:
    """A PNG with a comment that unpacks to 100 MB."""
    packed = zlib.compress(bytes(100_000_000))
    body = b"zTXt", b"key\0\0" + packed
    chunk = struct.pack(">I", len(body[1])) + body[0] + body[1]
    chunk += struct.pack(">I", zlib.crc32(body[0] + body[1]))
    return PNG[:33] + chunk + PNG[33:]


def _form(*parts: bytes) -> dict[str, Any]:
    return {"content": b"\r\n".join(parts), "headers": _MULTIPART}


def with_picture(content: bytes, **fields: str) -> dict[str, Any]:
    return {"files": {"picture": ("a.png", content)}, "data": {"names": "cat", **fields}}


def asked(**fields: Any) -> dict[str, Any]:
    return {"json": {"picture": TEXT, "names": "cat", **fields}}


def _raw_json(text: str | bytes) -> dict[str, Any]:
    return {"content": text, "headers": JSON}


def _typed(content: bytes, kind: str) -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": kind}}


def _names_file(content: bytes) -> dict[str, Any]:
    return {"files": {"picture": PNG, "names_file": content}}


_ENTITY = b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><annotations>&x;</annotations>"
_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"
_HEAD = b'--b\r\nContent-Disposition: form-data; name="names"\r\n'
# ruff: noqa: E501 -- a table: one request a line
# fmt: off
HOSTILE: dict[str, tuple[dict[str, Any], set[int]]] = {
    # bodies that are no request
    "no body": ({}, {415}),
    "empty form": ({"content": b"", "headers": _MULTIPART}, {400, 422}),
    "form without boundary": (_typed(b"x", "multipart/form-data"), {400}),
    "form that is cut off": (_form(_HEAD, b"cat"), {400, 422}),
    "form without a blank line": (_form(_HEAD[:-2] + b"cat", b"--b--"), {400, 422}),
    "form part without a name": (_form(b"--b", b"Content-Disposition: form-data", b"", b"x", b"--b--"), {400}),
    "form part of a wrong disposition": (_form(b"--b", b"Content-Disposition: attachment", b"", b"x", b"--b--"), {400}),
    "form part without a header": (_form(b"--b", b"", b"x", b"--b--"), {400}),
    "form with bytes before it": (_form(b"junk", _HEAD, b"cat", b"--b--"), {400, 422}),
    "form with binary headers": (_form(b"--b", bytes(range(256)), b"", b"x", b"--b--"), {400}),
    "form with a header of 100 kB": (_form(b"--b", b"X: " + b"a" * 100_000, b"", b"x", b"--b--"), {400}),
    "form of 1,000 fields": ({"data": {f"f{i}": "x" for i in range(1000)}, "files": {"picture": PNG}}, {400}),
    "form of 50 files": ({"files": [("picture", PNG)] * 50, "data": {"names": "cat"}}, {400}),
    "two pictures": ({"files": [("picture", PNG)] * 2, "data": {"names": "cat"}}, {413}),
    "picture as text": ({"data": {"names": "cat", "picture": "x"}, "files": {"names_file": b"cat"}}, {422}),
    "names as a file": ({"files": {"picture": PNG, "names": b"cat"}}, {400, 422}),
    "unknown field": (with_picture(PNG, colour="red"), {422}),
    "names twice": ({"files": {"picture": PNG, "names_file": b"dog"}, "data": {"names": "cat"}}, {422}),
    "file name that climbs": ({"files": {"picture": ("../../../etc/passwd", b"x")}, "data": {"names": "cat"}}, {422}),
    "file name with a null": ({"files": {"picture": ("a\0b", b"x")}, "data": {"names": "cat"}}, {400, 422}),
    "file name of 50 kB": ({"files": {"picture": ("a" * 50_000, PNG)}, "data": {"names": "cat"}}, {200, 400}),
    "wrong content type": (_typed(PNG, "image/png"), {415}),
    "content type of 10 kB": (_typed(b"x", "x" * 10_000), {415}),
    "url-encoded form": ({"data": {"names": "cat"}}, {415}),
    "XML": (_typed(_ENTITY, "text/xml"), {415}),
    # JSON
    "JSON that is none": (_raw_json("{"), {400}),
    "JSON that is empty": (_raw_json(""), {400}),
    "JSON that is a list": (_raw_json("[]"), {422}),
    "JSON that is null": (_raw_json("null"), {422}),
    "JSON of 40,000 brackets": (_raw_json("[" * 40_000), {400}),
    "JSON nested in names": (_raw_json('{"picture":"x","names":' + "[" * 5000 + "]" * 5000 + "}"), {400, 422}),
    "JSON in UTF-16": (_raw_json('{"names":"cat"}'.encode("utf-16")), {400}),
    "JSON with broken UTF-8": (_raw_json(b'{"names":"\xff\xfe"}'), {400}),
    "JSON with a lone surrogate": (_raw_json('{"picture":"AA==","names":"\\ud800"}'), {400, 422}),
    "JSON with NaN": (_raw_json(f'{{"picture":"{TEXT}","names":"cat","void_below":NaN}}'), {400, 422}),
    "JSON with 1e999": (_raw_json(f'{{"picture":"{TEXT}","names":"cat","void_below":1e999}}'), {400, 422}),
    "JSON with a number of 10,000 digits": (_raw_json(f'{{"picture":"{TEXT}","names":"cat","min_area":{"9" * 10_000}}}'), {400, 422}),
    "picture that is no base64": (asked(picture="!!!!"), {422}),
    "picture of one padding": (asked(picture="===="), {422}),
    "picture as a number": (asked(picture=5), {422}),
    "picture as a path": (asked(picture="/etc/passwd"), {422}),
    "picture as an address": (asked(picture="http://169.254.169.254/"), {422}),
    # pictures
    "empty picture": (with_picture(b""), {422}),
    "picture that is text": (with_picture(b"hello"), {422}),
    "picture that is cut off": (with_picture(PNG[:-30]), {422}),
    "picture with a broken checksum": (with_picture(PNG[:20] + b"\xff" + PNG[21:]), {422}),
    "picture of 4 billion pixels": (with_picture(_header_only(65535, 65535)), {413}),
    "picture of the largest size": (with_picture(_header_only(2**31 - 1, 2**31 - 1)), {413, 422}),
    "picture of no size": (with_picture(_header_only(0, 0)), {422}),
    "picture of 100 megapixels in 12 kB": (with_picture(_bomb(10_000)), {413}),
    "picture a row above the limit": (with_picture(_header_only(500, 501)), {413}),
    "picture with a comment of 100 MB": (with_picture(_text_bomb()), {200, 422}),
    "picture that is an SVG": (with_picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), {422}),
    "picture that is a PDF": (with_picture(b"%PDF-1.7\n%%EOF"), {422}),
    "picture that is PostScript": (with_picture(_POSTSCRIPT), {422}),
    "picture that is a zip": (with_picture(b"PK\x05\x06" + bytes(18)), {422}),
    # names
    "no names": ({"files": {"picture": PNG}}, {422}),
    "names of blanks": (with_picture(PNG, names="   "), {422}),
    "names of commas": (with_picture(PNG, names=",,,,"), {422}),
    "301 names": (with_picture(PNG, names=", ".join(f"n{i}" for i in range(301))), {422}),
    "100,000 commas": (with_picture(PNG, names="," * 19_000), {422}),
    "names of 250 kB": (with_picture(PNG, names="a" * 250_000), {413}),
    "a name of 5,000 characters": (with_picture(PNG, names="a" * 5000), {422}),
    "a name of 101 characters": (with_picture(PNG, names="a" * 101), {422}),
    "a name of combining characters": (with_picture(PNG, names="a" + "\u0301" * 9000), {422}),
    "a name with a null": (asked(names=["a\0b"]), {422}),
    "a name twice": (with_picture(PNG, names="cat, cat"), {422}),
    "a name that is a file": (with_picture(PNG, names="@/etc/passwd"), {422}),
    "an empty list of names": (asked(names=[]), {422}),
    "names that are numbers": (asked(names=[1, 2]), {422}),
    "a label without queries": (asked(names={"cat": []}), {422}),
    "a file of names in UTF-16": (_names_file("cat".encode("utf-16")), {422}),
    "a file of names with YAML's aliases": (_names_file(b"a: &a [x,x]\nb: &b [*a,*a]\nnames: [*b,*b]\n"), {422}),
    "a file of names with YAML's objects": (_names_file(b"names: !!python/object/apply:os.system ['id']\n"), {200}),
    "a file of names with XML's entities": (_names_file(_ENTITY), {422}),
    "a file of names of Python": (_names_file(b"names = [__import__('os').system('id')]\n"), {422}),
    "a stored list that is not there": ({"files": {"picture": PNG}, "data": {"stored_names": "none"}}, {404}),
    "a stored list that climbs": ({"files": {"picture": PNG}, "data": {"stored_names": "../../etc/passwd"}}, {422}),
    # values
    "a threshold of 2": (with_picture(PNG, void_below="2"), {422}),
    "a threshold that is no number": (with_picture(PNG, void_below="nan"), {422}),
    "windows of another kind": (with_picture(PNG, windows="7"), {422}),
    "an area below zero": (with_picture(PNG, min_area="-1"), {422}),
    "an area of 10^30": (with_picture(PNG, min_area=str(10**30)), {422}),
    "an answer of another kind": (with_picture(PNG, answer="passwd"), {422}),
    "an answer of 100 parts": (with_picture(PNG, answer=",".join(["png"] * 100)), {422}),
    "a request of 400 kB": (with_picture(bytes(400_000)), {413}),
}
# fmt: on
