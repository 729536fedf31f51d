"""Many clients at once for a `polyvoice serve`: every answer is looked at, and the server's memory is watched.

By hand, for half an hour: python serving_load.py http://127.0.0.1:8000 en es.flac en.flac --seconds 1800
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import soundfile

RETRIES = 100
COUNTING = threading.Lock()


@dataclass
class Report:
    """What came of it; memory is the server's resident memory in MB, from the first hundred answers on."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)


def ask(client: httpx.Client, number: int, recordings: list[Path], target: str, report: Report) -> None:
    """One request, again where the line is full; the answer must be audio that can be read to its end."""
    # Languages are the last part of the name: hello.es.flac.
    path = recordings[number % len(recordings)]
    form = {"target_language": target, "source_language": path.stem.rsplit(".", 1)[-1], "seed": str(number)}
    form |= [{}, {"response_format": "flac"}, {"stream": "true"}][number % 3]
    began = time.monotonic()
    for _ in range(RETRIES):
        answer = client.post("/v1/audio/translations", data=form, files={"file": (path.name, path.read_bytes())})
        with COUNTING:
            report.statuses[str(answer.status_code)] = report.statuses.get(str(answer.status_code), 0) + 1
        if answer.status_code != 429:
            break
        time.sleep(float(answer.headers["retry-after"]))
    with COUNTING:
        report.slowest_s = max(report.slowest_s, time.monotonic() - began)
    if answer.status_code != 200:
        report.lost.append(f"{number}: {answer.status_code} {answer.text}")
        return
    samples, _ = soundfile.read(io.BytesIO(answer.content))
    if not len(samples):
        report.lost.append(f"{number}: no sound")
    with COUNTING:
        report.answered += 1


def press(
    url: str, recordings: list[Path], target: str, *, clients: int, requests: int, seconds: float, pause_s: float
) -> Report:
    """Ask until so many requests are answered and so many seconds are over."""
    report = Report()
    numbers = itertools.count()
    began = time.monotonic()
    over = threading.Event()

    def work() -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            while True:
                number = next(numbers)
                if number >= requests and time.monotonic() - began >= seconds:
                    return
                try:
                    ask(client, number, recordings, target, report)
                except (httpx.HTTPError, soundfile.LibsndfileError) as error:
                    report.lost.append(f"{number}: {type(error).__name__} {error}")
                time.sleep(pause_s)

    def watch() -> None:
        while not over.wait(max(0.2, seconds / 200)):
            found = re.search(r"^process_resident_memory_bytes (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE)
            if report.answered >= 100 and found:
                report.memory_mb.append(round(float(found[1]) / 1e6, 1))

    with ThreadPoolExecutor(clients + 1) as threads:
        watching = threads.submit(watch)
        for worker in [threads.submit(work) for _ in range(clients)]:
            worker.result()
        over.set()
        watching.result()
    report.seconds = round(time.monotonic() - began, 1)
    return report


def main() -> None:
    """Parse, press, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("target")
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--pause-s", type=float, default=0.0)
    given = parser.parse_args()
    report = press(
        given.url,
        given.recordings,
        given.target,
        clients=given.clients,
        requests=given.requests,
        seconds=given.seconds,
        pause_s=given.pause_s,
    )
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
