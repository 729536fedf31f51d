"""The tutorials, from top to bottom: each command is run as it stands, and prints first what is shown.

Training is given two steps of a tiny model, servers are one that answers at once, and recordings are those that ship.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import molregpt.cli
import polyvoice.cli.main
import speechunits.cli.main
from molregpt.data.shipped import sample_pairs
from polyvoice.bundle.shipped import shipped_recordings
from polyvoice.corpus.manifest import read_manifest

DOCS = Path(__file__).parents[2] / "docs"
RUN = {"polyvoice": polyvoice.cli.main.run, "molregpt": molregpt.cli.run, "speechunits": speechunits.cli.main.run}
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STAGE = ["--preset=tiny", "--steps=2", "--batch-rows=2", "--micro-batch-rows=2", "--device=cpu"]
# What is added to a command, by its first words, to make it small.
SMALL = {
    "speechunits kmeans": ["--clusters=20"],
    "polyvoice train encoder": [
        *("--steps=2", "--warmup-steps=0", "--decay-steps=1", "--batch-frames=200", "--layers=4", "--width=16"),
        *("--heads=2", "--position-groups=2", "--precision=fp32", "--held-out-share=0.2", "--device=cpu"),
    ],
    "polyvoice train codec": [
        *("--reconstruction-steps=3", "--adversarial-steps=0", "--decoder-steps=2", "--batch-clips=2", "--levels=2"),
        *("--unquantized-steps=1", "--kmeans-batches=2", "--device=cpu", "--codebook-size=16", "--encoder-width=16"),
        *("--decoder-width=16", "--decoder-stage-width=2", "--held-out-clips=1"),
    ],
    "polyvoice train translate": [*STAGE, "--pieces=300"],
    "polyvoice train duration": STAGE,
    "polyvoice train synthesize": STAGE,
}
CHEBI20_ROWS = 12


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A language model that has one answer to each direction."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = json.loads(request)["messages"][-1]["content"]
            said = {"caption": "The molecule is a phenol."} if "smiles" in asked else {"smiles": "OC1=CC=CC=C1"}
            message = {"role": "assistant", "content": json.dumps(said)}
            body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder: recordings, tables."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "audio").mkdir()
    rows = [row for row in read_manifest(shipped_recordings()) if (row.source_lang, row.target_lang) == ("es", "en")]
    header = "id\tsource_audio\tsource_lang\ttarget_audio\ttarget_lang\ttarget_text\tsplit"
    lines, half = [], []
    for number, row in enumerate(rows, start=1):
        shutil.copy(str(row.source_audio), folder / "audio" / f"{number:03d}.es.flac")
        shutil.copy(str(row.target_audio), folder / "audio" / f"{number:03d}.en.flac")
        split = {5: "dev", 6: "test"}.get(number, "train")
        audio = f"{number:03d}\taudio/{number:03d}.es.flac\tes\taudio/{number:03d}.en.flac\ten"
        lines.append(f"{audio}\t\t{split}")
        half.append(f"{audio}\tsentence number {number}\t{split}")
    (folder / "pairs.tsv").write_text("\n".join([header, *lines]) + "\n")
    (folder / "half.tsv").write_text("\n".join([header, *half]) + "\n")
    ours = re.findall(r"^    (A-\d)  (\S+) +(.*)$", (DOCS / "tutorials" / "own-compounds.md").read_text("utf-8"), re.M)
    assert len(ours) == 4
    write_table(folder / "ours.tsv", ours)
    pairs = [(pair.key, pair.smiles, pair.caption) for pair in sample_pairs()]
    write_table(folder / "mine.tsv", pairs[:5])
    (folder / "chebi20").mkdir()
    write_table(folder / "chebi20" / "test.tsv", pairs[:CHEBI20_ROWS])
    write_table(folder / "chebi20" / "train.tsv", pairs[CHEBI20_ROWS:])
    predictions = [f"{key}\t{caption}" for key, _, caption in pairs[:CHEBI20_ROWS]]
    (folder / "theirs.tsv").write_text("\n".join(["CID\tcaption_prediction", *predictions]) + "\n")
    return folder


def write_table(path: Path, rows: list[tuple[str, str, str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [("CID", "SMILES", "description"), *rows]), "utf-8")


def commands(name: str) -> list[tuple[str, list[str]]]:
    """Each command of a tutorial, and the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall((DOCS / "tutorials" / f"{name}.md").read_text("utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line.rstrip())
    return found


def run(command: str, server: str) -> list[str]:
    """Run a command in this process; gives the lines of its stdout."""
    program, *arguments = shlex.split(re.sub(r"https?://(localhost:11434|api\.openai\.com)/v1", server, command))
    added = next((more for words, more in SMALL.items() if command.startswith(f"{words} ")), [])
    # The last of two values of an option counts.
    replaced = {option.partition("=")[0] for option in added}
    kept = [word for place, word in enumerate(arguments) if not {word, *arguments[place - 1 : place]} & replaced]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert RUN[program]([*kept, *added]) == 0, command
    return [line.rstrip() for line in output.getvalue().splitlines()]


SPEECH = ["language-pair", "unwritten", "translate"]  # in this order: the first makes what the others use
MOLECULES = ["own-llm", "own-compounds", "molregpt-table"]


@pytest.mark.parametrize("names", [SPEECH, *([name] for name in MOLECULES)], ids=["speech", *MOLECULES])
def test_every_command_of_a_tutorial_does_what_is_shown(
    names: list[str], home: Path, server: str, index_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("MOLREGPT_CACHE", str(index_cache))
    monkeypatch.setenv("COLUMNS", "110")
    for name in names:
        assert commands(name)
        for command, shown in commands(name):
            if command.startswith("molregpt data chebi20"):  # fetches; tests/molregpt/test_data_chebi20.py does it
                assert callable(molregpt.cli.parse(shlex.split(command)[1:]).run)
                continue
            printed = run(command, server)
            assert printed[: len(shown)] == shown, command
    if names == SPEECH:
        assert (home / "hello.wav").stat().st_size > 1_000


@pytest.mark.parametrize("name", ["own-compounds", "task-line"])
def test_the_python_of_a_tutorial_prints_what_is_written(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (DOCS / "tutorials" / f"{name}.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(home)
    exec(compile(code, name, "exec"), {})
    assert capsys.readouterr().out.strip() == expected.strip()


def test_every_tutorial_is_run_here() -> None:
    assert {path.stem for path in (DOCS / "tutorials").glob("*.md")} == {*SPEECH, *MOLECULES, "task-line"}
