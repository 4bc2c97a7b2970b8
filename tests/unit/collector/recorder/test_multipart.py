from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange_cases import BOUNDARY, encode_body
from tracequill_collector.recorder.multipart import Form, parse_form

_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
_BODY = encode_body(
    {
        "form": [
            {"name": "model", "text": "whisper-1"},
            {"name": "tags[]", "text": "a"},
            {"name": "tags[]", "text": ""},
            {"name": "tags[]", "text": "ü"},
            {
                "name": "file",
                "filename": "grüße; 1.wav",
                "content_type": "audio/wav",
                "base64": "/wANCi0tAA==",
            },
        ]
    }
)


def test_fields_and_files_are_told_apart() -> None:
    form = parse_form(_BODY, _TYPE)

    assert form.problem == ""
    assert [(part.name, part.filename, part.text) for part in form.parts] == [
        ("model", None, "whisper-1"),
        ("tags[]", None, "a"),
        ("tags[]", None, ""),
        ("tags[]", None, "ü"),
        ("file", "grüße; 1.wav", None),
    ]
    assert form.parts[-1].data == b"\xff\x00\r\n--\x00"
    assert form.text("model") == "whisper-1"
    assert form.text("file") is None
    assert form.text("language") is None


def test_a_file_is_described_and_never_dumped() -> None:
    assert parse_form(_BODY, _TYPE).described() == {
        "model": "whisper-1",
        "tags[]": ["a", "", "ü"],
        "file": {"filename": "grüße; 1.wav", "content_type": "audio/wav", "bytes": 7},
    }


def test_a_field_that_is_no_text_is_described() -> None:
    body = encode_body({"form": [{"name": "a", "base64": "/wA="}, {"name": "a", "text": "1"}]})

    assert parse_form(body, _TYPE).described() == {"a": [{"bytes": 2}, "1"]}


@pytest.mark.parametrize(
    "content_type",
    [
        f'Multipart/Form-Data; charset=utf-8; Boundary="{BOUNDARY}"',
        f"multipart/form-data;boundary={BOUNDARY} ; charset=utf-8",
    ],
)
def test_the_boundary_is_found_however_it_is_written(content_type: str) -> None:
    assert len(parse_form(_BODY, content_type).parts) == 5


def test_a_cut_form_gives_what_came() -> None:
    form = parse_form(_BODY[: _BODY.index(b"\xff") + 3], _TYPE)

    assert form.problem == "multipart body is cut"
    assert form.text("model") == "whisper-1"
    assert form.described()["file"]["bytes"] in (2, 3)


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (_BODY, "multipart/form-data", "multipart body has no boundary"),
        (b"{}", _TYPE, "multipart body is broken"),
        (_BODY, "multipart/form-data; boundary=other", "multipart body is broken"),
        (_BODY, "multipart/form-data; boundary=" + "-" * 300, "multipart body is broken"),
        (_BODY.replace(b"name=", b"\0name=", 1), _TYPE, ""),
        (_BODY.replace(b"Content-D", b"Content\0D", 1), _TYPE, "multipart body is broken"),
    ],
    ids=["no boundary", "JSON", "another", "too long", "odd value", "odd name"],
)
def test_a_form_that_cannot_be_read_is_told(body: bytes, content_type: str, problem: str) -> None:
    assert parse_form(body, content_type).problem.startswith(problem)


def test_parts_without_end_are_cut() -> None:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'.encode()
    form = parse_form(part * 2000, _TYPE)

    assert len(form.parts) == 1000
    assert form.problem == "multipart body has more than 1000 parts"


@given(st.binary(max_size=200), st.text(max_size=30))
def test_no_bytes_raise(body: bytes, boundary: str) -> None:
    parse_form(body, f"multipart/form-data; boundary={boundary}")
    parse_form(b"--x\r\n" + body, "multipart/form-data; boundary=x")


@given(st.integers(0, len(_BODY)), st.binary(max_size=3))
def test_no_broken_form_raises(position: int, other: bytes) -> None:
    form = parse_form(_BODY[:position] + other + _BODY[position + len(other) :], _TYPE)

    assert isinstance(form, Form)
    form.described()
