"""The pages of the annotation queue, and the scripts and styles that they load.

Each page is one template with the name of its script; what it shows comes from the API. It loads
nothing from elsewhere, runs no script but ours, and stands in no frame of others.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from phoenix.server.utils import get_root_path
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from tracequill_phoenix.api.access import authenticated
from tracequill_phoenix.api.annotation import ID_MAX

_FOLDER = Path(__file__).parent
_FILES = _FOLDER / "static" / "annotate"
_NAME_MAX = 100  # a longer one is an error to some file systems
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(directory=_FOLDER / "templates")


@router.get("/tracequill/annotate")
async def add_slash(request: Request) -> Response:
    """Send to the list of queues."""
    return RedirectResponse(f"{get_root_path(request.scope)}/tracequill/annotate/", 308)


@router.get("/tracequill/annotate/")
async def list_page(request: Request) -> Response:
    """The list of queues."""
    return await _page(request, "list", "Annotate")


@router.get("/tracequill/annotate/new")
async def new_page(request: Request) -> Response:
    """The form that makes a queue."""
    return await _page(request, "new", "New queue")


@router.get("/tracequill/annotate/{queue_id}")
async def work_page(request: Request, queue_id: str) -> Response:
    """Where questions are answered."""
    return await _page(request, "work", "Annotate", queue_id)


@router.get("/tracequill/annotate/{queue_id}/mine")
async def mine_page(request: Request, queue_id: str) -> Response:
    """What the reader has answered."""
    return await _page(request, "mine", "My answers", queue_id)


@router.get("/tracequill/annotate/{queue_id}/manage")
async def manage_page(request: Request, queue_id: str) -> Response:
    """Progress, questions, agreement and settings of a queue."""
    return await _page(request, "manage", "Manage", queue_id)


# Like Phoenix's own assets, for everyone.
@router.get("/tracequill/static/annotate/{name}")
async def static(request: Request, name: str) -> Response:
    """A script or a style; the browser asks each time whether it has changed."""
    file = _FILES / name
    kind = _TYPES.get(file.suffix)
    is_ours = len(name) <= _NAME_MAX and file.parent == _FILES and file.is_file()
    if kind is None or not is_ours:
        raise HTTPException(404, f"there is no file {name!r} here")
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    answer = FileResponse(file, media_type=kind, headers=headers, stat_result=file.stat())
    if _is_known(request, answer):
        return Response(status_code=304, headers={**headers, "ETag": answer.headers["etag"]})
    return answer


def _is_known(request: Request, answer: Response) -> bool:
    known = request.headers.get("if-none-match")
    if known is not None:
        return answer.headers["etag"] in known
    since = request.headers.get("if-modified-since")
    try:
        return since is not None and parsedate_to_datetime(since) >= parsedate_to_datetime(
            answer.headers["last-modified"]
        )
    except (TypeError, ValueError):
        return False


def _id(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(ID_MAX))
    return int(text) if is_number and 1 <= int(text) <= ID_MAX else None


async def _page(request: Request, name: str, title: str, queue: str | None = None) -> Response:
    root = get_root_path(request.scope)
    queue_id = _id(queue) if queue is not None else None
    facts = {"root": root, "name": name, "title": title, "queue_id": queue_id}
    try:
        await authenticated(request)
    except HTTPException as error:
        back = quote(request.scope["path"].removeprefix(root), safe="")
        return _templates.TemplateResponse(
            request,
            "annotate_sign_in.html",
            {**facts, "sign_in": f"{root}/login?returnUrl={back}"},
            error.status_code,
            _HEADERS,
        )
    if queue is not None and queue_id is None:  # of a number the page itself finds out
        return _templates.TemplateResponse(
            request, "annotate_not_found.html", facts, 404, headers=_HEADERS
        )
    return _templates.TemplateResponse(request, "annotate.html", facts, headers=_HEADERS)
