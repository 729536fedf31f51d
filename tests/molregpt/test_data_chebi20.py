"""Importing the published splits, from a folder and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from molregpt.data import chebi20
from molregpt.data.chebi20 import PUBLISHED_URL, import_chebi20
from molregpt.data.table import read_pairs
from molregpt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "CID\tSMILES\tdescription\n"
SPLITS = {
    "train": HEADER + '1\tCCO\tan "alcohol\n2\tC/C=C\\\\C\tan alkene\n3\tC1CC\tbroken\n',
    "validation": HEADER + "4\tCCN\tan amine\n",
    "test": HEADER + "5\tOCC\tthe alcohol again\n6\tCCCC\tbutane\n",
}


@pytest.fixture(autouse=True)
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chebi20, "_SPLIT_ROWS", {"train": range(3, 5), "validation": range(1, 2), "test": range(2, 3)})


def put(folder: Path, suffix: str = ".txt") -> Path:
    folder.mkdir()
    for name, text in SPLITS.items():
        (folder / f"{name}{suffix}").write_text(text)
    return folder


@pytest.mark.parametrize("suffix", [".txt", ".tsv"])
def test_a_folder_is_checked_and_written_with_single_backslashes(tmp_path: Path, suffix: str) -> None:
    summary = import_chebi20(put(tmp_path / "source", suffix), tmp_path / "out")
    assert [(split.name, split.rows, split.doubled_backslashes) for split in summary.splits] == [
        ("train", 3, 1),
        ("validation", 1, 0),
        ("test", 2, 0),
    ]
    assert summary.splits[0].unreadable == ("3",)
    # OCC of the test split is CCO of train, written another way.
    assert summary.leaked == ("5",)
    assert "1 test molecules are also in train or validation, the first with key 5" in str(summary)
    pairs = read_pairs(tmp_path / "out" / "train.tsv")
    assert [pair.smiles for pair in pairs] == ["CCO", "C/C=C\\C", "C1CC"]
    assert pairs[0].caption == 'an "alcohol'


def test_importing_the_result_again_changes_nothing(tmp_path: Path) -> None:
    import_chebi20(put(tmp_path / "source"), tmp_path / "first")
    import_chebi20(tmp_path / "first", tmp_path / "second")
    for name in SPLITS:
        assert (tmp_path / "first" / f"{name}.tsv").read_bytes() == (tmp_path / "second" / f"{name}.tsv").read_bytes()


def test_splits_are_fetched_from_where_they_are_published(tmp_path: Path) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, text=SPLITS[request.url.path.rsplit("/", 1)[-1].removesuffix(".txt")])

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        summary = import_chebi20(None, tmp_path / "out", client=client)
        assert not client.is_closed
    assert asked == [f"{PUBLISHED_URL}/{name}.txt" for name in SPLITS]
    assert sum(split.rows for split in summary.splits) == 6
    assert (tmp_path / "out" / "published" / "train.txt").read_text() == SPLITS["train"]


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route to host", request=request)


@pytest.mark.parametrize(
    ("transport", "message"),
    [
        (httpx.MockTransport(lambda request: httpx.Response(404)), "train.txt: the server answered 404"),
        (httpx.MockTransport(refuse_connection), r"cannot be fetched \(no route to host\); a local folder"),
    ],
)
def test_failed_downloads_are_refused_in_one_line(tmp_path: Path, transport: httpx.MockTransport, message: str) -> None:
    with httpx.Client(transport=transport) as client, pytest.raises(InputError, match=message):
        import_chebi20(None, tmp_path / "out", client=client)
    assert list((tmp_path / "out" / "published").iterdir()) == []


def test_missing_and_incomplete_splits_are_refused(tmp_path: Path) -> None:
    source = put(tmp_path / "source")
    (source / "test.txt").write_text(HEADER + "5\tOCC\tx\n")
    with pytest.raises(InputError, match=r"test\.txt: 1 rows, but the published split has 2$"):
        import_chebi20(source, tmp_path / "out")
    (source / "train.txt").write_text(HEADER + "1\tC\tx\n")
    with pytest.raises(InputError, match=r"train\.txt: 1 rows, but the published split has 3 to 4$"):
        import_chebi20(source, tmp_path / "out")
    (source / "test.txt").unlink()
    with pytest.raises(InputError, match=r"neither test\.txt nor test\.tsv is there"):
        import_chebi20(source, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
