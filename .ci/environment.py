"""Make a virtual environment for the tests with other versions or with more plugins.

    python .ci/environment.py FOLDER --beside .venv --lowest pytest
    python .ci/environment.py FOLDER --beside .venv --extra plugins
    python3.13 .ci/environment.py FOLDER --extra dev

With `--beside`, packages that are not installed in it are those of another environment of the same
Python, so that TensorFlow is not installed again.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOWER_BOUND = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?>=(?P<version>[\d.]+)")


def lowest(name: str, requirements: list[str]) -> str:
    """The requirement of the lowest version of a package that is declared."""
    for requirement in requirements:
        found = LOWER_BOUND.match(requirement)
        if found is not None and found["name"] == name:
            return f"{name}=={found['version']}"
    raise SystemExit(f"pyproject.toml declares no lowest version of {name}")


def make(folder: Path, beside: Path | None, requirements: list[str]) -> None:
    """Make an environment from nothing; of one that cannot be made, nothing is left."""
    packages = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages /= "site-packages"
    if beside is not None and not (beside / packages).is_dir():
        raise SystemExit(f"{beside} has no {packages}")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder.absolute() / "bin" / "python"), "-m", "pip", "install"]
    try:
        if requirements:
            subprocess.run(  # noqa: S603 - no shell
                [*pip, "--quiet", "--disable-pip-version-check", *requirements],
                check=True,
                cwd=ROOT,
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if beside is not None:
        # The last by its name: what is installed here wins.
        line = f"import site; site.addsitedir({str((beside / packages).absolute())!r})\n"
        (folder / packages / "zz_beside.pth").write_text(line)


def main() -> None:
    """Make the environment that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("requirements", nargs="*")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--lowest", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--extra", metavar="NAME")
    given = parser.parse_intermixed_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*given.requirements]
    requirements += [lowest(name, project["dependencies"]) for name in given.lowest]
    if given.extra is not None and given.beside is not None:
        requirements += project["optional-dependencies"][given.extra]
    elif given.extra is not None:
        requirements += ["--editable", f".[{given.extra}]"]
    make(given.folder, given.beside, requirements)


if __name__ == "__main__":
    main()
