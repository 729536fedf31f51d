"""The page, made of Gradio's parts; what it shows of an answer is a page of ours in a frame."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio

from molregpt.web.asked import Desk, editor_page, unpack_editor

if TYPE_CHECKING:
    from molregpt.records import Direction
    from molregpt.web.settings import Address, Limits

_TITLE = "Molecules in words"
_STYLE = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.result iframe, .editor iframe { display: block; width: 100%; border: 0; color-scheme: light dark; }
.result iframe { height: 60px; }
.editor iframe { height: 400px; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.result .html-container, .editor .html-container { padding: 0; }
"""
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"]
# The frame is as high as what is in it, also when something in it unfolds.
_RESULT = """<iframe title="Answer" srcdoc="{page}" onload="const frame = this;
const fit = () => {{ frame.style.height = frame.contentDocument.body.scrollHeight + 2 + 'px'; }};
new ResizeObserver(fit).observe(frame.contentDocument.body); fit();"></iframe>"""
_EDITOR = """<iframe title="Draw a molecule" srcdoc="{page}"></iframe>"""
_MOLECULES = {
    "Aspirin": "CC(=O)OC1=CC=CC=C1C(=O)O",
    "Caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "Glucose": "C([C@@H]1[C@H]([C@@H]([C@H](C(O1)O)O)O)O)O",
    "Cholesterol": "C[C@H](CCCC(C)C)[C@H]1CC[C@@H]2[C@@]1(CC[C@H]3[C@H]2CC=C4[C@@]3(CC[C@@H](C4)O)C)C",
}
_DESCRIPTIONS = (
    "The molecule is a monocarboxylic acid and a member of phenols.",
    "The molecule is a 17beta-hydroxy steroid and a 3-oxo-Delta(4) steroid. It has a role as an androgen.",
)


def open_page(desk: Desk, address: Address, limits: Limits) -> None:
    """Show the page until SIGTERM or SIGINT.

    Args:
        desk: Answers the questions.
        address: Where to listen.
        limits: Of what people may ask.

    Raises:
        InputError: The address cannot be listened at.
    """
    # Gradio takes no open socket: the port is looked up, or tried, and let go of for a moment.
    port = address.find_port()
    with tempfile.TemporaryDirectory(prefix="molregpt-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        script = unpack_editor(Path(folder))
        page = build_page(desk, limits, f"/gradio_api/file={script}")
        page.launch(
            server_name=address.host,
            server_port=port,
            share=False,
            quiet=True,
            ssr_mode=False,
            prevent_thread_lock=True,
            footer_links=[],
            max_file_size=1,  # nothing is uploaded here
            allowed_paths=[str(script)],
            theme=gradio.themes.Default(primary_hue="teal", neutral_hue="gray", font=_FONTS, font_mono=["monospace"]),
            css=_STYLE,
        )
        print(f"molregpt: {desk.backend_name} is shown on {address.url_of(port)}", file=sys.stderr, flush=True)
        _wait_for_the_end()
        page.close(verbose=False)
    desk.close()
    print("molregpt: stopped", file=sys.stderr)


def build_page(desk: Desk, limits: Limits, script_url: str) -> gradio.Blocks:
    """The page, not yet shown; see `open_page`."""

    def show(direction: Direction, query: str, shots: float) -> str:
        return _RESULT.format(page=escape(desk.answer(direction, query, int(shots))))

    with gradio.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=None) as page:
        gradio.Markdown(
            f"# {_TITLE}\nA molecule is described, or a description drawn, after the most similar of {desk.pairs:,} "
            f"pairs that experts wrote. `{desk.backend_name}` answers."
        )
        with gradio.Tab("Describe a molecule"):
            with gradio.Row():
                with gradio.Column(scale=3):
                    gradio.HTML(
                        _EDITOR.format(page=escape(editor_page(script_url))), elem_classes="editor", padding=False
                    )
                with gradio.Column(scale=2):
                    smiles = gradio.Textbox(
                        label="Draw it, or type it as SMILES", elem_id="smiles", lines=3, max_lines=6
                    )
                    shots = _choose_shots(desk, limits)
                    describe = gradio.Button("Describe", variant="primary", elem_id="describe")
                    gradio.Examples(
                        [[one] for one in _MOLECULES.values()],
                        smiles,
                        example_labels=list(_MOLECULES),
                        label="Or one of these",
                    )
            described = gradio.HTML(elem_id="described", elem_classes="result", padding=False)
        with gradio.Tab("Find a molecule"):
            with gradio.Row():
                with gradio.Column(scale=3):
                    text = gradio.Textbox(label="What is said of it", elem_id="text", lines=5, max_lines=12)
                    gradio.Examples([[one] for one in _DESCRIPTIONS], text, label="Or one of these")
                with gradio.Column(scale=2):
                    more_shots = _choose_shots(desk, limits)
                    propose = gradio.Button("Propose", variant="primary", elem_id="propose")
            proposed = gradio.HTML(elem_id="proposed", elem_classes="result", padding=False)
        describe.click(
            lambda query, count: show("mol2cap", query, count),
            [smiles, shots],
            described,
            concurrency_limit=1,
            api_visibility="private",
        )
        propose.click(
            lambda query, count: show("cap2mol", query, count),
            [text, more_shots],
            proposed,
            concurrency_limit=1,
            api_visibility="private",
        )
    page.queue(max_size=limits.waiting)
    return page


def _choose_shots(desk: Desk, limits: Limits) -> gradio.Slider:
    return gradio.Slider(
        0, limits.most_shots, min(desk.shots, limits.most_shots), step=1, label="Neighbours to look at"
    )


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(0.5):
        pass
