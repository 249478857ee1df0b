"""``imagesdk doctor``, ``config show`` and ``completion``: what a user asks for when something does not work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from imagesdk.cli import settings
from imagesdk.emulator import Emulator
from tests.support.commands import environment_of, run_command

Run = Callable[..., "CompletedProcess[bytes]"]
KEY = "sk-not-to-be-seen"


@pytest.fixture
def run(tmp_path: Path, emulator: Emulator) -> Run:
    def call(*arguments: str, **env: str) -> CompletedProcess[bytes]:
        environment = environment_of(emulator.base_url)
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            environment.pop(name, None)
            environment.pop(name.lower(), None)
        return run_command(arguments, folder=tmp_path, environment={**environment, **env})

    return call


def findings(done: CompletedProcess[bytes]) -> dict[str, tuple[str, str]]:
    """Return the state and the text of the last finding of each check."""
    return {each["check"]: (each["state"], each["text"]) for each in json.loads(done.stdout)["findings"]}


def test_the_doctor_finds_a_working_set_up_in_order_and_pays_nothing(run: Run, emulator: Emulator) -> None:
    done = run("doctor", OPENAI_API_KEY=KEY, IMAGESDK_RATE_LIMIT="500/min")
    assert done.returncode == 0, done.stdout
    text = done.stdout.decode()
    assert "everything is in order" in text
    assert "500/min images (IMAGESDK_RATE_LIMIT)" in text
    assert "GET /models: 200" in text
    assert f"OPENAI_API_KEY is set ({len(KEY)} characters)" in text
    assert KEY not in text
    assert [request.path for request in emulator.state.requests] == ["/v1/models"]


@pytest.mark.parametrize(
    ("env", "code", "check", "text"),
    [
        ({"OPENAI_BASE_URL": ""}, 2, "key", "OPENAI_API_KEY is not set, and this server needs a key"),
        ({"OPENAI_API_KEY": f'"{KEY}"'}, 2, "key", "begins or ends with white space or a quote"),
        ({"OPENAI_BASE_URL": "nonsense"}, 2, "base URL", "not 'nonsense'"),
        ({"OPENAI_BASE_URL": f"https://me:{KEY}@x.test/v1"}, 2, "base URL", "may not hold a user"),
        ({"IMAGESDK_RATE_LIMIT": "lots"}, 2, "limit", "IMAGESDK_RATE_LIMIT must be written like 50/min"),
        ({"SSL_CERT_FILE": "missing.pem"}, 2, "CA", "SSL_CERT_FILE names missing.pem, which does not exist"),
    ],
)
def test_the_doctor_names_what_is_wrong_with_a_setting(
    run: Run, env: dict[str, str], code: int, check: str, text: str
) -> None:
    done = run("doctor", "--offline", "--json", **env)
    state, shown = findings(done)[check]
    assert (done.returncode, state) == (code, "problem")
    assert text in shown
    assert KEY not in done.stdout.decode()


def test_the_doctor_reports_a_server_that_is_away_or_refuses_the_key(run: Run, tmp_path: Path) -> None:
    away = run("doctor", "--json", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert away.returncode == 1
    assert "could not be reached" in findings(away)["server"][1]
    with Emulator(limit=None, require_key=True) as strict:
        refused = run("doctor", "--json", OPENAI_BASE_URL=strict.base_url)
    assert (refused.returncode, findings(refused)["server"][0]) == (4, "problem")


def test_the_doctor_notes_a_base_url_without_a_version_and_shows_a_proxy_without_its_password(
    run: Run,
) -> None:
    env = {"OPENAI_BASE_URL": "https://images.test", "HTTPS_PROXY": "http://me:secret@proxy.test:3128"}
    done = run("doctor", "--offline", "--json", **env)
    found = findings(done)
    assert "https://images.test/v1" in found["base URL"][1]
    assert found["proxy"] == ("ok", "proxy.test:3128")


def test_the_doctor_lists_missing_extras_with_what_they_need(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing_of(extra: str) -> list[str]:
        return ["shtab"] if extra == "cli" else []

    monkeypatch.setattr("imagesdk.cli.doctor.missing_of", missing_of)
    done = run("doctor", "--offline", "--json", OPENAI_API_KEY=KEY)
    assert findings(done)["extras"] == ("note", "not installed: cli (needs shtab)")
    assert settings.missing_of("cli") == []


def test_the_table_of_extras_is_that_of_the_package() -> None:
    import re
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    declared = project["optional-dependencies"]
    assert {name: [*names] for name, names in settings.EXTRAS.items()} == {
        name: [re.split(r"[\[>]", line)[0] for line in declared[name]]
        for name in declared
        if name not in {"test", "all"}
    }


def test_config_show_has_each_setting_with_its_origin_and_no_key(run: Run) -> None:
    env = {
        "OPENAI_API_KEY": KEY,
        "IMAGESDK_RATE_LIMIT": "5/min",
        "HTTPS_PROXY": "http://me:secret@proxy.test:3128",
    }
    done = run("config", "show", "--base-url", "http://127.0.0.1:1/v1", "--json", **env)
    shown = json.loads(done.stdout)
    assert shown["base_url"] == {"value": "http://127.0.0.1:1/v1", "origin": "--base-url"}
    assert shown["openai_api_key"] == {"value": f"set ({len(KEY)} characters)", "origin": "OPENAI_API_KEY"}
    assert shown["rate_limit"] == {"value": "5/min", "origin": "IMAGESDK_RATE_LIMIT"}
    assert shown["https_proxy"] == {"value": "proxy.test:3128", "origin": "HTTPS_PROXY"}
    secret = {
        "IMAGESDK_SHARED": "rediss://me:secret@redis.test:6379/0?password=secret",
        "OPENAI_BASE_URL": "http://me:secret@x.test/v1",
    }
    hidden = json.loads(run("config", "show", "--json", **secret).stdout)
    assert hidden["imagesdk_shared"]["value"] == "rediss://redis.test:6379/0?..."
    assert hidden["base_url"]["value"] == "http://x.test/v1"
    table = run("config", "show", IMAGESDK_RATE_LIMIT="").stdout.decode()
    assert "50/min  (default)" in table
    assert "(OPENAI_ORG_ID is not set)" in table


@pytest.mark.parametrize(("shell", "check"), [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish -n")])
def test_a_completion_script_knows_every_command_and_is_valid_where_the_shell_is_installed(
    run: Run, tmp_path: Path, shell: str, check: str
) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    for command in ("generate", "doctor", "completion"):
        assert command in done.stdout.decode()
    (tmp_path / "script").write_bytes(done.stdout)
    if shutil.which(shell):
        subprocess.run([*check.split(), str(tmp_path / "script")], check=True)


def test_without_shtab_completion_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    done = run("completion", "bash")
    assert done.returncode == 2
    assert b"the extra `cli`" in done.stderr
