"""Install the packed wheels of missing packages: `install.py WHEELS SITE`."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from part import REPOSITORY, arguments, found

EXTRAS = ("workloads",)


def is_there(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def required() -> list[str]:
    """Return the names of the packages that pyproject.toml requires for a run."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return re.findall(r"^([A-Za-z0-9._-]+)", "\n".join([*project["dependencies"], *extras]), re.MULTILINE)


def main() -> int:
    wheels, site = map(Path, arguments(__doc__).names)
    packed = {path.name.partition("-")[0]: path for path in sorted(wheels.glob("*.whl"))}
    wanted = {name: path for name, path in packed.items() if not is_there(name)}
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    status = 0
    if wanted:
        status = subprocess.run([*command, "--target", str(site), *map(str, wanted.values())]).returncode
    known = {name.replace("_", "-").lower() for name in packed}
    missing = [name for name in required() if name.lower() not in known and not is_there(name)]
    found(installed=sorted(wanted), neither_packed_nor_there=missing)
    return status


if __name__ == "__main__":
    sys.exit(main())
