"""Importing the emulator costs nothing, and says what is missing when it is used without its extra."""

import subprocess
import sys

import pytest

import imagesdk.emulator


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_importing_the_emulator_imports_none_of_its_dependencies() -> None:
    code = """
import sys
import imagesdk.emulator
print(sorted({"starlette", "uvicorn", "PIL", "python_multipart"} & set(sys.modules)), dir(imagesdk.emulator)[0])
"""
    assert run(code).startswith("[] ")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "python_multipart", "PIL"])
def test_an_error_names_the_extra_to_install(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
import imagesdk.emulator
try:
    imagesdk.emulator.Emulator
except ImportError as error:
    print(error)
"""
    message = run(code)
    assert missing in message
    assert message.endswith("install the extra from the checkout: pip install '.[emulator]'\n")


def test_every_public_name_can_be_imported_and_no_other() -> None:
    names = imagesdk.emulator.__all__

    found = {name: getattr(imagesdk.emulator, name) for name in names}
    assert isinstance(found.pop("WEBHOOK_SECRET"), str)
    assert [value.__name__ for value in found.values()] == list(found)
    with pytest.raises(AttributeError, match=r"module 'imagesdk\.emulator' has no attribute 'Simulator'"):
        _ = imagesdk.emulator.Simulator
