"""Molecules as small SVG pictures that follow the page's light or dark theme."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_HIGHLIGHT = (1.0, 0.9, 0.6)

# Colour as RDKit writes it -> the page's variable. RDKit's blue and black cannot be read on a dark page, so each
# colour becomes a CSS variable whose fallback is the colour itself: a picture saved alone still looks right.
_THEME_COLOURS = {
    "#000000": "--atom-carbon",
    "#0000FF": "--atom-nitrogen",
    "#FF0000": "--atom-oxygen",
    "#CCCC00": "--atom-sulfur",
    "#33CCCC": "--atom-fluorine",
    "#00CC00": "--atom-chlorine",
    "#7F4C19": "--atom-bromine",
    "#A01EEF": "--atom-iodine",
    "#FF7F00": "--atom-phosphorus",
    "#FFE599": "--atom-shared",
}
_COLOUR = re.compile(r"#[0-9A-F]{6}")
# A filled area with a thin outline of its own colour, as highlights and wedges are.
_AREA = re.compile(r"style='fill:(#[0-9A-F]{6});stroke:\1;stroke-width:[01]\.\dpx'")
# What RDKit repeats on every path although it is SVG's default or unused by a page: two thirds of the bytes.
_REDUNDANT = re.compile(
    r"<\?xml[^>]*\?>\s*|<!--.*?-->\s*| class='[^']*'|fill-rule:evenodd;?|fill-opacity:1;?|stroke-linecap:butt;?"
    r"|stroke-linejoin:miter;?|stroke-miterlimit:10;?|stroke-opacity:1;?| xml:space='preserve'"
    r"|\s+xmlns:(?:rdkit|xlink)='[^']*'| baseProfile='full'| version='1.1'",
    re.DOTALL,
)


def draw_molecule(
    smiles: str, *, width: int = 260, height: int = 180, like: str | None = None, label: str | None = None
) -> str | None:
    """A molecule as an SVG element to be placed inside a page.

    Args:
        smiles: The molecule.
        width: Width of the picture in CSS pixels.
        height: Height of the picture in CSS pixels.
        like: Another molecule; atoms with the same surroundings (Morgan environment of radius 2) there are marked.
        label: Name for screen readers; the SMILES by default.

    Returns:
        The `<svg>` text without a background, or None where RDKit reads no molecule from `smiles`.
    """
    from rdkit.Chem.Draw import rdMolDraw2D

    from molindex.smiles import SmilesError, parse_smiles

    try:
        molecule = parse_smiles(smiles)
    except SmilesError:
        return None
    atoms: list[int] = []
    bonds: list[int] = []
    if like is not None:
        # With nothing to compare with, an unmarked picture is still right.
        with contextlib.suppress(SmilesError):
            atoms, bonds = shared_atoms(molecule, parse_smiles(like))
    canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = canvas.drawOptions()  # RDKit's type stubs take every option for an object
    options.clearBackground = False
    options.padding = 0.06
    options.maxFontSize = 14
    options.fixedBondLength = 28  # an upper bound: ethanol is not blown up to the size of a steroid
    options.setHighlightColour(_HIGHLIGHT)
    options.highlightBondWidthMultiplier = 12
    options.standardColoursForHighlightedAtoms = True
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule, highlightAtoms=atoms, highlightBonds=bonds)
    canvas.FinishDrawing()
    return _shape_for_page(canvas.GetDrawingText(), label or smiles)


def shared_atoms(molecule: Mol, other: Mol, radius: int = 2) -> tuple[list[int], list[int]]:
    """Atoms and bonds of `molecule` that lie in a Morgan environment which `other` has too.

    Args:
        molecule: The molecule to mark.
        other: The molecule to compare with.
        radius: Radius of the environments in bonds; smaller ones are shared by almost any two molecules.

    Returns:
        Indexes of atoms and of bonds, each ascending.
    """
    from rdkit.Chem import FindAtomEnvironmentOfRadiusN, rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius)

    def environments(of: Mol) -> dict[int, list[tuple[int, int]]]:
        extra = rdFingerprintGenerator.AdditionalOutput()
        extra.AllocateBitInfoMap()
        generator.GetSparseFingerprint(of, additionalOutput=extra)
        return dict(extra.GetBitInfoMap())

    theirs = environments(other)
    atoms: set[int] = set()
    bonds: set[int] = set()
    for bit, places in environments(molecule).items():
        if bit not in theirs:
            continue
        for centre, reach in places:
            if reach != radius:
                continue
            around = list(FindAtomEnvironmentOfRadiusN(molecule, reach, centre))
            bonds.update(around)
            for index in around:
                bond = molecule.GetBondWithIdx(index)
                atoms.update((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
    return sorted(atoms), sorted(bonds)


def _shape_for_page(svg: str, label: str) -> str:
    """Drop what a page does not need, hand the colours to its theme, and name the picture."""
    from html import escape

    def themed(match: re.Match[str]) -> str:
        variable = _THEME_COLOURS.get(match[0])
        return f"var({variable},{match[0]})" if variable else match[0]

    svg = " ".join(_REDUNDANT.sub("", svg).replace(";'", "'").split())
    svg = _AREA.sub(r"fill='\1'", _join_paths(svg))
    svg = _COLOUR.sub(themed, svg)
    return svg.replace("<svg", f'<svg class="molecule" role="img" aria-label="{escape(label)}"', 1)


def _join_paths(svg: str) -> str:
    """Write the lines of one look as one path, and the letters of one colour: RDKit draws each on its own."""
    joined: dict[str, list[str]] = {}

    def collect(match: re.Match[str]) -> str:
        shape, look = match[1], match[2].strip()
        # Overlapping areas of one path may cancel each other out, so only lines and letters are joined.
        if "fill:none" not in look and not look.startswith("fill="):
            return match[0]
        first = look not in joined
        joined.setdefault(look, []).append(shape.strip())
        return f"\0{list(joined).index(look)}\0" if first else ""

    svg = re.sub(r"<path d='([^']*)'([^>]*?)/> ?", collect, svg)
    for number, (look, shapes) in enumerate(joined.items()):
        svg = svg.replace(f"\0{number}\0", f"<path d='{' '.join(shapes)}' {look}/>")
    return svg
