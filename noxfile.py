"""The checks of this repository, one session each. ``nox -l`` lists them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "facade", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
ENGINES = (".[test,ray,celery,dask]", *nox.project.dependency_groups(PROJECT, "engines"))
RECIPE_KILLS = "tests/engines/test_recipe_kills.py"


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, as the README runs it."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def tests_httpx2(session: nox.Session) -> None:
    """The suite on httpx2 in place of httpx, but for tests of what httpx itself does otherwise."""
    session.install("-e", ".[test]")
    session.env["HTTP_STACK"] = "httpx2"
    session.run(
        "python",
        "-m",
        "pytest",
        "--numprocesses=0",  # other processes would load the plugin after conftest.py
        "-p",
        "tests.support.httpx2_plugin",
        "-m",
        "not of_httpx and not chromium and not types and not redis and not engines and not node",
        *session.posargs,
    )


@nox.session
def browser(session: nox.Session) -> None:
    """The pages for people in headless Chromium; needs Debian's chromium and chromium-driver."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PROJECT, "browser"))
    session.run(
        "python", "-m", "pytest", "-m", "chromium", "tests/fan_out", "tests/emulator", *session.posargs
    )


@nox.session
def engines(session: nox.Session) -> None:
    """Workers of Ray, Celery and Dask that are killed, the recipes, and a server of S3; needs Debian's redis-server."""
    session.install("-e", *ENGINES)
    options = ("--numprocesses=4", "-rP", "-m", "engines", f"--ignore={RECIPE_KILLS}")
    session.run("python", "-m", "pytest", *options, "tests/engines", *session.posargs)


@nox.session
def recipes(session: nox.Session) -> None:
    """The recipes for DBOS, Dramatiq, RQ and Kubernetes, whose processes are killed; never part of the tests."""
    session.install("-e", *ENGINES)
    options = ("--numprocesses=4", "-rP", "-m", "engines")
    session.run("python", "-m", "pytest", *options, RECIPE_KILLS, *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """Schemathesis against the OpenAPI document of the emulator."""
    session.install("-e", ".[emulator]", *nox.project.dependency_groups(PROJECT, "contract"))
    session.run("python", "-m", "tests.support.contract", *session.posargs)


@nox.session
@nox.parametrize("client", ["python", "node"])
def peers(session: nox.Session, client: str) -> None:
    """The official clients' own tests of the Images API against the emulator; node needs npm and a clone or GitHub."""
    session.install("-e", ".[emulator]", *nox.project.dependency_groups(PROJECT, "peers"))
    session.run("python", "-m", "tests.peers", client, *session.posargs)


@nox.session
def drift(session: nox.Session) -> None:
    """Whether the newest release of the official client has types that our tables lack."""
    session.install("-e", ".[emulator]")
    session.install("--upgrade", "openai")
    session.run("python", "-m", "tests.support.drift")


@nox.session
def redis(session: nox.Session) -> None:
    """What processes share in Redis; needs redis-server."""
    session.install("-e", ".[test]")
    session.run(
        "python",
        "-m",
        "pytest",
        "--numprocesses=0",
        "-m",
        "redis",
        "tests/coordination",
        "tests/ledger",
        *session.posargs,
    )


@nox.session
def stacks(session: nox.Session) -> None:
    """The tests of every HTTP stack, and a table of what passed on which, with versions."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.support.http_stacks", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """The suite on the oldest versions that pyproject.toml admits."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in (
        "emulator",
        "cli",
        "pillow",
        "fast",
        "aiohttp",
        "redis",
        "fsspec",
        "otel",
    ):  # openai wants a later httpx2 than we do
        wanted += extras[extra]
    pins = sorted({re.sub(r">=([\w.]+).*", r"==\1", line.split("#")[0].strip()) for line in wanted})
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(pins) + "\n")
    session.install("-e", ".[test]", "-c", str(constraints))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy and pyright, both strict, on the package and its tests, and mypy on the examples of the docs."""
    groups = nox.project.dependency_groups(PROJECT, "types", "bench", "browser")
    session.install("-e", ".[test]", *groups, "nox")
    session.run("mypy")
    session.run("pyright", "--pythonpath", str(Path(session.bin) / "python"))
    session.run("python", "-m", "pytest", "-m", "types", "tests/docs/test_docs_types.py")
    session.install(
        "--no-deps", "--force-reinstall", "."
    )  # the check of a package does not follow an editable one
    session.chdir(session.create_tmp())
    session.run("pyright", "--verifytypes", "imagesdk", "--ignoreexternal")


@nox.session
def facade(session: nox.Session) -> None:
    """Whether the committed blocking facade is what the generator writes."""
    session.run("python", "-m", "imagesdk._sync.generator", "--check")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, memory and event-loop lag beside the official client; never part of the tests."""
    session.install("-e", ".[all]", *nox.project.dependency_groups(PROJECT, "bench"))
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Interrupts, forks, cancelled calls and broken answers by the thousand; never part of the tests."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def searches(session: nox.Session) -> None:
    """The tests of properties with random examples, and many more of them; never part of the tests."""
    session.install("-e", ".[test]")
    options = ("-m", "hypothesis", "--hypothesis-profile=search", "--timeout=0")
    session.run("python", "-m", "pytest", *options, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site of the documentation in build/site: notebooks executed, links and anchors checked."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PROJECT, "docs"))
    session.run("python", "-m", "docs.site.notebooks", "--check")
    session.run("python", "-m", "docs.site.notebooks", "--execute", "build/notebooks")
    session.run("python", "-m", "docs.site.build", "--site", "--notebooks", "build/notebooks")


@nox.session
def release(session: nox.Session) -> None:
    """Build sdist and wheel, check their metadata, and test the wheel on each Python from 3.11 to 3.14 that is installed."""
    session.install("build>=1.2", "twine>=6")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    built = sorted(map(str, Path("dist").iterdir()))
    session.run("twine", "check", "--strict", *built)
    [wheel] = [Path(name).absolute() for name in built if name.endswith(".whl")]
    checkout, version = Path.cwd(), wheel.name.split("-")[1]
    smoke = checkout / "tests" / "support" / "wheel_smoke.py"
    ran: list[str] = []
    for minor in range(11, 15):
        found = _python(minor)
        if found is None:
            session.warn(f"Python 3.{minor} is not installed: the wheel was not tested on it")
            continue
        home = Path(session.create_tmp()).absolute() / f"python3.{minor}"
        session.run(found, "-m", "venv", "--clear", str(home), external=True)
        python = str(home / "bin" / "python")
        session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[emulator,cli]", external=True)
        session.chdir(home)
        session.run(python, "-I", str(smoke), str(checkout), version, external=True)
        session.chdir(checkout)
        ran.append(f"3.{minor}")
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    session.log(f"the wheel ran on Python {', '.join(ran)}; the classifiers name {', '.join(listed)}")
    if unproved := sorted(set(ran) - set(listed)):
        session.error(f"add the classifiers of Python {', '.join(unproved)}")


def _python(minor: int) -> str | None:
    """Return an interpreter of Python 3.MINOR: on the path, or of pyenv."""
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    for candidate in (f"python3.{minor}", *map(str, of_pyenv)):
        path = shutil.which(candidate)
        program = f"import sys; raise SystemExit(sys.version_info[:2] != (3, {minor}))"
        if path and subprocess.run([path, "-c", program], capture_output=True).returncode == 0:  # noqa: S603 - our own
            return path
    return None
