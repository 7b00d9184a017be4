"""The page of the blind study: an empty place for `player/study.js`, which asks `cteg.ui.study_api` for everything."""

from __future__ import annotations

import gradio as gr

from cteg.ui.assets import Assets

PATH = "study"
"""Where the study is, below the app's root."""

TEMPLATE = '<section class="cteg-player cteg-study" aria-label="Study"></section>'
START = """
import(new URL(props.player + "study.js", document.baseURI))
  .then((study) => study.mount(element, props))
  .catch((error) => console.error(error));
"""
INVITATION = f"""
<p class="cteg-invitation">Eight minutes for science? <a href="{PATH}">Take part in a study</a>: watch faces, say which
one fits.</p>
"""


def build_study(assets: Assets) -> gr.HTML:
    """Place the study on a page; nothing about its clips is in here."""
    return gr.HTML(
        None,
        html_template=TEMPLATE,
        js_on_load=START,
        apply_default_css=False,
        elem_id="cteg-study",
        player=assets.player_url,
        first_head=assets.head_url,
    )


def build_invitation() -> gr.HTML:
    """Place a link to the study on the main page."""
    return gr.HTML(INVITATION, apply_default_css=False)
