"""The page lists every row, escapes what it is given, and its plots are there in both forms."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench.page import render_page, write_page
from bench.pairs import Pairs
from bench.rows import Row, Task, merge_rows

TASK = Task("search", "exact <b>top</b> 10", "FPSim2 & Co", 1_000, "molecules", "query", target=5.0)


class Reader(HTMLParser):
    """Collects tags and the text of table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.rows: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += data


def rows_of_all_kinds() -> list[Row]:
    grown = [Row.measured(replace(TASK, size=10**n), Pairs((1e-3 * n,), (2e-2 * n,)), equal=True) for n in (3, 4, 5)]
    start = Task("start-help", "the list of commands", "", 1, "command", "run", target=0.3, sized=False)
    failed = Row.failed(replace(TASK, job="units"), "<script>alert(1)</script> is not installed")
    return merge_rows([], [*grown, Row.measured(start, Pairs((0.2,))), failed])


def test_every_row_is_listed_with_what_it_says() -> None:
    rows = rows_of_all_kinds()
    listed = Reader(render_page(rows)).rows[1:]
    assert len(listed) == len(rows)
    for row, text in zip(rows, listed, strict=True):
        assert row.name in text
        assert row.what in text
        assert (row.peer or "none") in text
        assert row.error in text
        assert row.ratio_median is None or f"{row.ratio_median:.2f}" in text
    assert "0.3 s, met" in listed[[row.name for row in rows].index("start-help")]
    assert "size^" in listed[0]


def test_text_is_escaped() -> None:
    page = render_page(rows_of_all_kinds(), [("plots/a.svg", 'a "quoted" <title>')])
    read = Reader(page)
    assert "script" not in read.tags
    assert "<b>top" not in page
    assert read.images == [{"src": "plots/a.svg", "alt": 'a "quoted" <title>'}]


def test_the_page_has_a_plot_of_ratios_and_one_of_each_growth(tmp_path: Path) -> None:
    write_page(tmp_path, rows_of_all_kinds())
    images = Reader((tmp_path / "index.html").read_text(encoding="utf-8")).images
    assert [image["src"] for image in images] == ["plots/ratios.svg", "plots/search.svg"]
    for name in ("ratios", "search"):
        assert (tmp_path / "plots" / f"{name}.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_equal_rows_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_page(tmp_path / name, rows_of_all_kinds())
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("rows", [[], [Row.failed(TASK, "no peer")]])
def test_a_page_without_numbers_has_no_plot(rows: list[Row], tmp_path: Path) -> None:
    write_page(tmp_path, rows)
    assert Reader((tmp_path / "index.html").read_text(encoding="utf-8")).images == []
