"""Programs' messages with their translations, out of compiled catalogs."""

import struct
from pathlib import Path

import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.gettext_catalogs import GettextSettings, read_catalogs
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.splits import Shares

HEADER = ("", "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n")


def write_catalog(path: Path, *messages: tuple[str, str]) -> None:
    """As the manual of GNU gettext describes it ("The Format of GNU MO Files")."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = sorted((key.encode(), value.encode()) for key, value in (HEADER, *messages))
    at = 28 + 16 * len(entries)
    tables, content = [b"", b""], b""
    for column in (0, 1):
        for entry in entries:
            tables[column] += struct.pack("<2I", len(entry[column]), at + len(content))
            content += entry[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0)
    path.write_bytes(head + tables[0] + tables[1] + content)


def read(folder: Path, **settings: object) -> list[tuple[str | None, str | None]]:
    rows = read_catalogs(folder, GettextSettings(**settings), Shares())  # type: ignore[arg-type]
    return sorted((row.source_text, row.target_text) for row in rows)


def test_marks_of_keys_contexts_and_plurals_are_taken_off(tmp_path):
    write_catalog(
        tmp_path / "es" / "mail.mo",
        ("_Send message", "_Enviar mensaje"),
        ("Save &As…", "Guardar &como…"),
        ("menu\4Folder:", "Carpeta:"),
        ("One message\0Messages", "Un mensaje\0Mensajes"),
        ("Please enter\nthe password", "Introduzca la\ncontraseña"),
    )
    write_catalog(tmp_path / "zh.mo", ("_File", "文件(_F)"))
    assert read(tmp_path / "es") == [
        ("Folder", "Carpeta"),
        ("One message", "Un mensaje"),
        ("Please enter the password", "Introduzca la contraseña"),
        ("Save As...", "Guardar como..."),
        ("Send message", "Enviar mensaje"),
    ]
    assert ("File", "文件") in read(tmp_path, target="zh")


@pytest.mark.parametrize(
    ("message", "translation"),
    [
        ("%d messages", "%d mensajes"),
        ("<b>Bold</b>", "<b>Negrita</b>"),
        ("See http://a.org", "Vea http://a.org"),
        ("Layer 2", "Capa 2"),
        ("...", "…"),
        ("Error", "Error"),
        ("one two three four", "uno dos tres"),
        ("one two three", "uno dos tres cuatro"),
    ],
)
def test_what_nobody_says_is_the_same_or_long_is_left_out(message, translation, tmp_path):
    write_catalog(tmp_path / "a.mo", (message, translation), ("Yes", "Sí"))
    assert read(tmp_path, longest=3) == [("Yes", "Sí")]


def test_the_first_catalog_says_how_words_are_translated(tmp_path):
    write_catalog(tmp_path / "a.mo", ("Open", "Abrir"), ("open!", "¡abra!"))
    write_catalog(tmp_path / "b.mo", ("Open", "Abierto"), ("Close", "Cerrar"))
    assert read(tmp_path) == [("Close", "Cerrar"), ("Open", "Abrir")]


def test_the_command_writes_pairs_of_text(tmp_path, capsys):
    write_catalog(tmp_path / "a.mo", ("Open", "Abrir"))
    assert run(["corpus", "gettext", str(tmp_path), "--out", str(tmp_path / "texts.tsv"), "--to", "es"]) == 0
    assert "1 pairs" in capsys.readouterr().out
    [row] = read_manifest(tmp_path / "texts.tsv")
    assert (row.source_lang, row.source_text, row.target_lang, row.target_text) == ("en", "Open", "es", "Abrir")
    assert row.source_audio is None


def refuse(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["corpus", "gettext", str(folder), "--out", str(folder / "o.tsv")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (folder / "o.tsv").exists()
    return error


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    assert "no catalogs" in refuse(tmp_path, capsys)
    write_catalog(tmp_path / "a.mo", ("%s", "%s"))
    assert "no message is left of 1 catalogs" in refuse(tmp_path, capsys)
    whole = (tmp_path / "a.mo").read_bytes()
    for damaged in (b"", b"text", whole[:20], whole[:40], whole[:8] + b"\xff" * 12 + whole[20:]):
        (tmp_path / "a.mo").write_bytes(damaged)
        assert "a.mo: not a catalog of GNU gettext" in refuse(tmp_path, capsys)
