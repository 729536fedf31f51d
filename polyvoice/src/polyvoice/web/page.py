"""The page, made of Gradio's parts; what it shows of a translation is a page of ours in a frame."""

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

from polyvoice.bundle.shipped import shipped_recordings
from polyvoice.corpus.manifest import read_manifest
from polyvoice.errors import INPUT_ERRORS, InputError
from polyvoice.samples.views import name_direction
from polyvoice.web.translating import Wish, show_problem, translate_for_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyvoice.pipeline.translator import SpeechTranslator
    from polyvoice.serving.address import Address
    from polyvoice.serving.settings import Limits
    from polyvoice.tasks import Direction

_TITLE = "Speech to speech"
_INTRODUCTION = """# Speech to speech
Record or upload somebody who speaks, and hear the same voice in another language. Nothing leaves this server, and what
was recorded is deleted when it stops."""
_STYLE = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#result .html-container { padding: 0; }
#result iframe { display: block; width: 100%; height: 60px; border: 0; color-scheme: light dark; }
"""
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"]
# The frame is as high as what is in it, also when something in it unfolds.
_FRAME = """<iframe title="Translation" srcdoc="{page}" onload="const frame = this;
const fit = () => {{ frame.style.height = frame.contentDocument.body.scrollHeight + 2 + 'px'; }};
new ResizeObserver(fit).observe(frame.contentDocument.body); fit();"></iframe>"""


def open_page(
    translator: SpeechTranslator, directions: Sequence[Direction], name: str, address: Address, limits: Limits
) -> None:
    """Show the page until SIGTERM or SIGINT.

    Args:
        translator: with its bundle.
        directions: that it translates.
        name: of the bundle.
        address: where to listen.
        limits: of what people send.

    Raises:
        InputError: the address cannot be listened at.
    """
    # Gradio takes no open socket: the port is looked up, or tried, and let go of for a moment.
    with address.listen() as listener:
        port = listener.getsockname()[1]
    # Recordings of people lie in this folder only, and it is gone when the server is.
    with tempfile.TemporaryDirectory(prefix="polyvoice-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build_page(translator, directions, name, limits)
        page.launch(
            server_name=address.host,
            server_port=port,
            share=False,
            quiet=True,
            ssr_mode=False,
            prevent_thread_lock=True,
            footer_links=[],
            max_file_size=limits.largest_upload_bytes,
            theme=gradio.themes.Default(primary_hue="pink", neutral_hue="gray", font=_FONTS, font_mono=["monospace"]),
            css=_STYLE,
        )
        print(f"polyvoice: {name} is shown on {address.url_of(port)}", file=sys.stderr, flush=True)
        _wait_for_the_end()
        page.close(verbose=False)
    print("polyvoice: stopped", file=sys.stderr)


def build_page(
    translator: SpeechTranslator, directions: Sequence[Direction], name: str, limits: Limits
) -> gradio.Blocks:
    """The page, not yet shown; see `open_page`."""
    ways = {str(way): way for way in directions}

    def translate(
        recording: str | None,
        direction: str,
        voice: str | None,
        seed: float | None,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008 - how Gradio finds it
    ) -> str:
        try:
            if recording is None:
                raise InputError("record something, or upload a recording, first")
            way = ways[direction]
            wish = Wish(Path(recording), way.source, way.target, Path(voice) if voice else None, int(seed or 0))
            made = translate_for_page(translator, wish, limits, lambda share: progress(share, "translating"))
        except INPUT_ERRORS as error:
            made = show_problem(error)
        return _FRAME.format(page=escape(made))

    with gradio.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.Markdown(_INTRODUCTION)
        with gradio.Row():
            with gradio.Column(scale=3):
                recording = gradio.Audio(
                    label=f"Recording, at most {limits.longest_recording_s:g} s",
                    sources=["microphone", "upload"],
                    type="filepath",
                    buttons=[],
                    elem_id="recording",
                )
            with gradio.Column(scale=2):
                # Not two lists: the second one's choices would depend on the first, and lag behind quick hands.
                direction = gradio.Dropdown(
                    [(name_direction(way), way) for way in ways], label="Languages", elem_id="direction"
                )
                with gradio.Accordion("Another voice, another draw", open=False):
                    voice = gradio.Audio(
                        label="Voice that shall speak; the speaker's own without it",
                        sources=["microphone", "upload"],
                        type="filepath",
                        buttons=[],
                    )
                    seed = gradio.Number(
                        0, label="Seed: another one draws other sounds", precision=0, minimum=0, maximum=10**9 - 1
                    )
                button = gradio.Button("Translate", variant="primary", elem_id="translate")
        result = gradio.HTML(elem_id="result", padding=False)
        if examples := _find_examples(directions):
            gradio.Examples(
                [[path, way] for path, way, _ in examples],
                [recording, direction],
                example_labels=[label for *_, label in examples],
                label="Or try one of these",
            )
        gradio.Markdown(f"Models: `{name}`. What is said here is synthetic speech, and its file says so.")
        button.click(
            translate,
            [recording, direction, voice, seed],
            result,
            concurrency_limit=1,
            api_visibility="private",
        )
    page.queue(max_size=1 + limits.waiting)
    return page


def _find_examples(directions: Sequence[Direction]) -> list[tuple[str, str, str]]:
    """A recording for each direction among those that ship with the package: file, direction, and what is said."""
    try:
        rows = [row for row in read_manifest(shipped_recordings()) if row.source_audio is not None]
    except InputError:
        return []
    return [
        (str(row.source_audio), str(way), f"{name_direction(str(way))}: {row.source_text}")
        for way in directions
        for row in [row for row in rows if (row.source_lang, row.target_lang) == (way.source, way.target)][:1]
    ]


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(0.5):
        pass
