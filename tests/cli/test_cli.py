"""The command line as a user meets it: arguments, streams and an exit code."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import openai
import pytest
from PIL import Image

from imagesdk.cli import demo
from imagesdk.emulator import Emulator
from tests.support.commands import environment_of, run_command
from tests.support.file_systems import laboratory
from tests.support.odd_images import phone
from tests.support.small_images import png

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
CHEAP = ("--model", "dall-e-2", "--size", "256x256")


@pytest.fixture
def environment(emulator: Emulator) -> dict[str, str]:
    return environment_of(emulator.base_url)


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def call(*arguments: str, stdin: bytes = b"", **env: str) -> "subprocess.CompletedProcess[bytes]":
        return run_command(arguments, folder=tmp_path, environment={**environment, **env}, stdin=stdin)

    return call


IMAGE = png(256, 256)


@pytest.fixture
def files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "mask.png"):
        (tmp_path / name).write_bytes(IMAGE)
    (tmp_path / "opaque.png").write_bytes(png(256, 256, alpha=False))
    (tmp_path / "wide.png").write_bytes(png(300, 200, alpha=False))
    (tmp_path / "wide-mask.png").write_bytes(png(300, 200))
    (tmp_path / "phone.jpg").write_bytes(phone())


def test_it_is_a_program_that_ends_with_its_exit_code(environment: dict[str, str]) -> None:
    for arguments, code in ((["--version"], 0), (["nonsense"], 2)):
        command = [sys.executable, "-m", "imagesdk", *arguments]
        assert subprocess.run(command, env=environment, capture_output=True).returncode == code


def test_generate_prints_the_paths_of_real_images(run: Run, tmp_path: Path) -> None:
    done = run("generate", "a white siamese cat", "-n", "2", *CHEAP, "-o", "cats/")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.decode().split()
    assert len(paths) == 2
    for path in paths:
        with Image.open(tmp_path / path) as image:
            assert image.size == (256, 256)
            image.load()


def test_the_default_folder_is_the_current_one_and_file_names_contain_the_prompt(
    run: Run, tmp_path: Path
) -> None:
    done = run("generate", "A River!", *CHEAP)
    path = Path(done.stdout.decode().strip())
    assert path.parent == Path()
    assert path.name.startswith("a-river-")
    assert path.suffix == ".png"
    assert (tmp_path / path).is_file()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("edit", "a.png lounge"),
        ("edit", "a.png b.png both --mask mask.png --model gpt-image-2 --size auto --quality low"),
        ("edit", "wide.png lounge --mask wide-mask.png --square crop"),
        ("edit", "wide.png lounge --mask wide-mask.png --square pad"),
        ("edit", "opaque.png lounge --mask-box 0,0,64,64 --mask-box 128,128,256,256"),
        ("vary", "a.png"),
        ("vary", "-"),
        ("vary", "phone.jpg --square crop"),
        ("vary", "phone.jpg --square pad"),
    ],
)
@pytest.mark.usefixtures("files")
def test_an_edit_or_variation_prints_the_path_of_its_image(
    run: Run, tmp_path: Path, emulator: Emulator, command: str, arguments: str
) -> None:
    done = run(command, *CHEAP, *arguments.split(), "-o", "{index}.{ext}", stdin=IMAGE)
    assert (done.returncode, done.stdout) == (0, b"0.png\n"), done.stderr
    Image.open(tmp_path / "0.png").verify()
    [request] = emulator.state.requests
    assert request.path == f"/v1/images/{'edits' if command == 'edit' else 'variations'}"


def test_a_dash_reads_the_prompt_from_stdin_and_writes_the_image_to_stdout(run: Run) -> None:
    done = run("generate", "-", "-o", "-", *CHEAP, stdin="a café\n".encode())
    assert done.returncode == 0, done.stderr
    assert Image.open(BytesIO(done.stdout)).size == (256, 256)


def test_json_prints_one_object_with_all_facts(run: Run) -> None:
    done = run("generate", "a river", "--json", *CHEAP, "-o", "r.png")
    facts = json.loads(done.stdout)
    assert facts["data"][0]["path"] == "r.png"
    assert facts["data"][0]["width"] == 256
    assert facts["cost_usd"] == "0.016"
    assert facts["request_id"].startswith("req_")


@pytest.mark.parametrize("before", [True, False])
def test_global_options_may_precede_or_follow_the_command(run: Run, before: bool) -> None:
    command = ["generate", "a river", "-o", "r.png", "--quality", "low"]
    arguments = ["--emulator", "-q", *command] if before else [*command, "--emulator", "-q"]
    done = run(*arguments, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"r.png\n", b"")


@pytest.mark.parametrize(
    ("arguments", "env", "code", "text"),
    [
        (["generate", "x", "--size", "7x7", "--model", "dall-e-2"], {}, 2, "256x256, 512x512 or 1024x1024"),
        (["generate", "x"], {"OPENAI_BASE_URL": ""}, 2, "OPENAI_API_KEY"),
        (["generate", "x", "--model", "no-such-model"], {}, 1, "no-such-model"),
        (["generate", "something forbidden"], {}, 5, "content filter|safety system"),
        (["generate", "x"], {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, 1, "could not be reached"),
        (["edit", "missing.png", "x"], {}, 1, "missing.png"),
        (["generate", "x", "-o", "{nonsense}.png"], {}, 2, "{index}"),
        (["generate", "x", "-n", "2", "-o", "-"], {}, 2, "one image"),
        (["generate", "x", "-n", "2", "-o", "one.png"], {}, 2, "same name"),
        (["edit", "-", "-"], {}, 2, "stdin"),
        (["edit", "a.png", "x", "--mask-box", "0,0,64"], {}, 2, "LEFT,TOP,RIGHT,BOTTOM"),
        (["edit", "a.png", "x", "--mask-box", "0,0,64,257"], {}, 2, "within 256x256"),
        (["edit", "a.png", "x", "--mask-box", "0,0,6,6", "--mask", "a.png"], {}, 2, "give one of them"),
        (["edit", "a.png", "x", "--square", "stretch"], {}, 2, "crop"),
        (["vary", "phone.jpg", *CHEAP], {}, 2, "--square crop"),
        (["nonsense"], {}, 2, "invalid choice"),
        (["serve", "--as-of", "yesterday"], {}, 2, "2023-06-01"),
        (["serve", "--host", "0.0.0.0"], {}, 2, "--allow-remote"),
        (["serve", "--limit", "lots"], {}, 2, "lots"),
    ],
)
@pytest.mark.usefixtures("files")
def test_each_kind_of_error_has_its_exit_code_and_a_remedy(
    run: Run, arguments: Sequence[str], env: dict[str, str], code: int, text: str
) -> None:
    done = run(*arguments, **env)
    assert done.returncode == code, done.stderr
    assert any(piece in done.stderr.decode() for piece in text.split("|")), done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_no_check_sends_an_invalid_request(run: Run, emulator: Emulator) -> None:
    assert run("generate", "x", "--size", "7x7", "--model", "dall-e-2", "--no-check").returncode == 1
    assert len(emulator.state.requests) == 1


def test_json_prints_an_error_as_json(run: Run) -> None:
    done = run("generate", "something forbidden", "--json", "--model", "dall-e-2")
    error = json.loads(done.stderr)["error"]
    assert error["type"] == "ModerationError"
    assert error["exit_code"] == 5
    assert error["request_id"].startswith("req_")


def test_a_file_is_not_replaced_without_force(run: Run, tmp_path: Path, emulator: Emulator) -> None:
    (tmp_path / "cat.png").write_bytes(b"precious")
    command = ["generate", "x", *CHEAP, "-o", "cat.png"]
    assert run(*command).returncode == 2
    assert emulator.state.requests == []
    assert (tmp_path / "cat.png").read_bytes() == b"precious"
    assert run(*command, "--force").returncode == 0
    assert (tmp_path / "cat.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["generate", "--help"], ["cost", "--help"], ["models", "--help"], ["--version"]]
)
def test_help_and_version_load_neither_the_client_nor_httpx(arguments: list[str]) -> None:
    code = (
        "import sys, imagesdk.cli; code = imagesdk.cli.run(sys.argv[1:]); "
        "print(*{'httpx', 'anyio', 'attrs', 'PIL', 'rich', 'imagesdk.client'} & {*sys.modules}, file=sys.stderr); "
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, env=environment_of(""))
    assert (done.returncode, done.stderr.strip()) == (0, b"")
    assert b"imagesdk" in done.stdout


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_the_extension_of_the_file_chooses_the_format(run: Run, tmp_path: Path, ending: str) -> None:
    done = run("generate", "x", "--model", "gpt-image-2", "--quality", "low", "-o", f"e.{ending}")
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(tmp_path / f"e.{ending}") as image:
        assert image.format == ("JPEG" if ending == "jpg" else "WEBP")


def test_an_extension_of_another_format_gets_a_warning(run: Run, tmp_path: Path) -> None:
    done = run("generate", "x", *CHEAP, "-o", "e.jpg")
    assert (done.returncode, done.stdout) == (0, b"e.jpg\n")
    assert done.stderr == b"imagesdk: e.jpg is a PNG; a matching name is e.png\n"


def test_demo_makes_images_by_all_three_operations_without_a_key_and_replaces_its_own(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / demo.FOLDER).mkdir()
    for name in demo.FILES:
        (tmp_path / demo.FOLDER / name).write_bytes(b"of the time before")
    done = run("demo", "-o", f"{demo.FOLDER}/", OPENAI_BASE_URL="")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.decode().split()
    assert len(paths) >= 4
    for path in paths:
        assert Path(path).parent == Path("imagesdk-demo")
        with Image.open(tmp_path / path) as image:
            image.load()
    assert (tmp_path / demo.FOLDER / "mask.png").read_bytes().startswith(b"\x89PNG")
    text = done.stderr.decode()
    assert all(f"images.{name}(" in text for name in ("generate", "edit", "create_variation"))
    assert "OPENAI_API_KEY" in text
    assert "not generated by a model" in text


def test_demo_replaces_no_other_files_without_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"precious")
    refused = run("demo", "-o", ".")
    assert refused.returncode == 2
    assert b"mask.png already exists; --force replaces it" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
    assert (tmp_path / "mask.png").read_bytes() == b"precious"
    assert run("demo", "-o", ".", "--force").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == set(demo.FILES)
    assert b"mask.png, valley-0.png, " in run("demo", "-o", ".").stderr


def test_the_code_that_demo_prints_runs(run: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    text = run("demo").stderr.decode()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    script = "\n".join(lines[: next(i for i, line in enumerate(lines) if line.startswith("export "))])
    for image in (tmp_path / "imagesdk-demo").glob("[!m]*.png"):
        image.unlink()
    with Emulator() as emulator:
        script = script.replace("http://127.0.0.1:8000/v1", emulator.base_url)
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "imagesdk-demo").glob("*.png"))) == 6


@contextmanager
def _serving(
    environment: dict[str, str], *arguments: str
) -> Generator[tuple[str, "subprocess.Popen[str]"], None, None]:
    server = subprocess.Popen(
        [sys.executable, "-m", "imagesdk", "serve", "--port", "0", "--limit", "none", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), server
        finally:
            server.kill()


def test_serve_prints_its_base_url_and_ends_without_a_traceback_at_ctrl_c(
    environment: dict[str, str], run: Run
) -> None:
    with _serving(environment, "--as-of", "2023-06-01") as (base_url, server):
        done = run("generate", "an otter", "--size", "256x256", "-o", "o.png", "--base-url", base_url)
        assert done.returncode == 0, done.stderr
        server.send_signal(signal.SIGINT)
        _, text = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "Traceback" not in text


def test_the_official_client_works_with_serve(environment: dict[str, str]) -> None:
    with _serving(environment) as (base_url, _), openai.OpenAI(base_url=base_url, api_key="any") as client:
        made = client.images.generate(prompt="a lake", model="gpt-image-2", quality="low")
        image = ("lake.png", IMAGE, "image/png")
        edited = client.images.edit(image=image, prompt="a boat", model="dall-e-2", size="256x256")
        with pytest.warns(DeprecationWarning, match="deprecated|retired"):
            varied = client.images.create_variation(  # pyright: ignore[reportDeprecated] - retired there, not here
                image=image, model="dall-e-2", response_format="b64_json", size="256x256"
            )
        assert made.data
        assert base64.b64decode(made.data[0].b64_json or "").startswith(b"\x89PNG")
        assert made.usage
        assert edited.data
        assert (edited.data[0].url or "").startswith("http://127.0.0.1:")
        assert varied.data
        assert Image.open(BytesIO(base64.b64decode(varied.data[0].b64_json or ""))).size == (256, 256)


def test_a_closed_pipe_ends_the_command_without_a_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "imagesdk", "generate", "x", *CHEAP]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_retirement_warning_is_one_line_on_stderr() -> None:
    program = (
        "import sys, types, warnings\n"
        "from imagesdk import RetirementWarning\n"
        "from imagesdk.cli.session import open_client\n"
        "quiet = 'quiet' in sys.argv\n"
        "with open_client(types.SimpleNamespace(base_url='http://127.0.0.1:9/v1', quiet=quiet)):\n"
        "    warnings.warn('it ends tomorrow', RetirementWarning)\n"
    )
    for arguments, text in (([], b"imagesdk: it ends tomorrow\n"), (["quiet"], b"")):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, env=environment_of(""))
        assert (done.returncode, done.stderr) == (0, text)


def test_images_are_written_to_urls(run: Run, tmp_path: Path) -> None:
    with laboratory() as lab:
        made = run("generate", "a cat", "-o", "lab://b/cat.png", *CHEAP)
        assert (made.returncode, made.stdout.strip()) == (0, b"lab://b/cat.png")
        assert b"already exists" in run("generate", "a cat", "-o", "lab://b/cat.png", *CHEAP).stderr
        facts = json.loads(run("generate", "a dog", "-o", "lab://b/{slug}.{ext}", "--json", *CHEAP).stdout)
        assert facts["data"][0]["path"] == "lab://b/a-dog.png"
        arguments = ("batch", "-", "-o", "lab://b/run/", *CHEAP)
        refused = run(*arguments, stdin=b"a cow\n")
        assert refused.returncode == 2
        assert b"Give --journal run.db, a local file." in refused.stderr
        made = run(*arguments, "--journal", "run.db", "--gallery", stdin=b"a cow\n")
        assert made.stdout.strip() in (tmp_path / "index.html").read_bytes()
        assert made.stdout.startswith(b"lab://b/run/a-cow-")
        assert made.stdout.strip() in run("log", "run.db").stdout
        assert set(lab.content()) == {
            "b/cat.png",
            "b/a-dog.png",
            made.stdout.decode().strip().removeprefix("lab://"),
        }
