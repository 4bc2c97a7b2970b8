"""What is in the wheel, and that it works where nothing but its base requirements is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "tracequill": "instrumentation",
    "tracequill_collector": "collector",
    "tracequill_phoenix": "phoenix_config",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_three_packages_with_types_and_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    for package, folder in PACKAGES.items():
        assert f"{package}/py.typed" in names
        source = ROOT / folder
        data = {
            path.relative_to(source).as_posix()
            for path in (source / package).rglob("*")
            if path.suffix in (".css", ".html", ".js", ".mako", ".sql") and path.is_file()
        }
        assert data <= names
    assert not [name for name in names if re.search(r"(^|/)(tests?|deploy)/", name)]


def closure(name: str, extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """Give what pip would install for *name*, itself left out, as far as this machine has it."""
    found: dict[str, Distribution] = {}
    waiting = [(name, extras)]
    seen = set(waiting)
    while waiting:
        current, wanted = waiting.pop()
        for text in distribution(current).requires or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in (wanted | {""})):
                continue
            found[requirement.name] = distribution(requirement.name)
            following = (requirement.name, frozenset(requirement.extras))
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


@pytest.fixture(scope="module")
def bare_install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and links to its base requirements, as in a fresh environment."""
    target = tmp_path_factory.mktemp("bare")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for requirement in closure("tracequill").values():
        for file in requirement.files or []:
            if file.parts[0] == ".." or "__pycache__" in file.parts:
                continue
            link = target / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.symlink(Path(str(file.locate())), link)
    return target


def run(bare_install: Path, statements: str) -> subprocess.CompletedProcess[str]:
    """Run *statements* where only *bare_install* and the standard library can be imported."""
    script = f"import sys; sys.path.insert(0, {str(bare_install)!r})\n{statements}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_base_install_brings_neither_phoenix_nor_a_server() -> None:
    names = {name.lower() for name in closure("tracequill")}

    assert "opentelemetry-sdk" in names
    assert not names & {"arize-phoenix", "asyncpg", "grpcio", "sqlalchemy", "starlette", "aiohttp"}


def test_without_extras_the_library_registers_and_traces(bare_install: Path) -> None:
    done = run(
        bare_install,
        "import tracequill\n"
        "provider = tracequill.register('shop', 'http://127.0.0.1:9')\n"
        "with tracequill.session('s'):\n"
        "    span = provider.get_tracer('app').start_span('a')\n"
        "print(tracequill.__version__, dict(span.attributes))\n"
        "tracequill.unregister()\n",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{version('tracequill')} {{'session.id': 's'}}\n"
    assert "(traced: nothing by itself)" in done.stderr


@pytest.mark.parametrize(
    ("command", "extra"), [("up", "collector"), ("collector", "collector"), ("export", "phoenix")]
)
def test_without_extras_a_command_says_which_is_missing(
    bare_install: Path, command: str, extra: str
) -> None:
    done = run(bare_install, f"from tracequill._command import main\nsys.exit(main([{command!r}]))")

    assert done.returncode == 1
    assert re.fullmatch(
        f"tracequill: '{command}' needs \\w+, which is not installed. "
        f"Run: pip install 'tracequill\\[{extra}\\]'\n",
        done.stderr,
    )


def test_without_extras_the_command_lists_its_commands(bare_install: Path) -> None:
    done = run(bare_install, "from tracequill._command import main\nsys.exit(main(['--help']))")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: tracequill COMMAND" in done.stdout
