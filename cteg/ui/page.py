"""The page: a sentence and its settings above, the faces below, and what they are made of on a page of its own."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.events import Dependency

from cteg.ui.about import about_html
from cteg.ui.actions import Actions
from cteg.ui.assets import Assets
from cteg.ui.form import Form, build_form, settings_for_links
from cteg.ui.services import Services
from cteg.ui.study_page import PATH, build_invitation, build_study
from cteg.ui.take_away import drop_oldest

TITLE = "CTEG: sentences with a face"
HEADER = """
<header class="cteg-header">
  <h1>How would a face say it?</h1>
  <p>Type a sentence: within a second, several different faces perform its feeling side by side,
     and you say how well each one fits.</p>
</header>
"""
FOOTER = """
<footer class="cteg-footer">
  <p><strong>What you see.</strong> The bundled model learned from labelled sentences and synthetic performances, built
  on published studies of facial action (FACS) with mouth motion cut from real captures; the heads come from MakeHuman.
  Neither EmoAva nor FLAME went into it.</p>
  <p><strong>What is kept.</strong> A rating is stored with the head you saw and a random number of your browser, no
  name, no address; the sentence itself only if you tick the box. The latest performances stay in the server's memory
  for a while, so that you can take them away.</p>
</footer>
"""

ACTIONS_HEADING = """
<section class="cteg-insight"><h2>What moves, and when</h2>
<p>The five strongest actions of these faces; two faces with the same feeling need not use the same ones.</p></section>
"""
PLAYER_TEMPLATE = '<section class="cteg-player" aria-label="Faces"></section>'
PLAYER_START = """
window.cteg = import(new URL(props.player + "app.js", document.baseURI))
  .then((app) => app.mount(element, props, watch, trigger));
window.cteg.catch((error) => console.error(error));
"""
BEGIN = """
async (text, samples, ...rest) => {
  const player = await window.cteg;
  player.begin(text, samples);
  return [text, samples, ...rest.slice(0, -1), player.raterId()];
}
"""
TAKEN = "async (file) => { (await window.cteg).taken(file); }"
NOT_TAKEN = "async () => { (await window.cteg).taken(null); }"
END = "async () => { (await window.cteg).end(); }"
READ_LINK = "async (...form) => (await window.cteg).readLink(form)"
EXPLAIN = """
async () => {
  document.body.classList.add("cteg-explaining");
  return [(await window.cteg).run()];
}
"""
EXPLAIN_NO_MORE = "() => { document.body.classList.remove('cteg-explaining'); }"
EXPLAIN_AGAIN = "() => { document.querySelector('.cteg-explaining #cteg-again')?.click(); }"
FIRST_SETTINGS = 4
"""Inputs that `/generate` always had: text, samples, temperature, seed."""
LATER_SETTINGS = (0.0,)
"""Defaults of its later ones: guidance."""
FOLLOW_LINK = "async () => { (await window.cteg).followLink(); }"


class Page(gr.Blocks):
    """Blocks whose `/generate` may be called with the settings that it had in its first version.

    Gradio's own clients fill in what a later version added; a plain HTTP call sends a list, which Gradio refuses if it
    is short.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> Any:
        """Append the defaults of settings that came later, then go on as usual."""
        if block_fn.api_name == "generate" and len(inputs) >= FIRST_SETTINGS:
            inputs = [*inputs, *LATER_SETTINGS[len(inputs) - FIRST_SETTINGS :]]
        return await super().preprocess_data(block_fn, inputs, *args, **options)


def build_app(services: Services, assets: Assets | None = None) -> gr.Blocks:
    """Build the page and the web API; nothing is loaded or started here.

    Args:
        services: What the app works with.
        assets: The files that the page fetches; made from the services' head if not given.
    """
    assets = assets or Assets(services.rig_path)
    if services.settings.study_only:
        with Page(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
            build_study(assets)
        return blocks
    actions = Actions(services)
    with Page(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as blocks:
        gr.HTML(HEADER, apply_default_css=False)
        if services.study is not None:
            build_invitation()
        with gr.Tabs(elem_id="cteg-tabs"):
            with gr.Tab("Create", id="create"):
                form = build_form()
                player = _build_player(assets)
                taken = gr.File(label="Taken away", interactive=False, elem_id="cteg-taken")  # shown by the player
                performed = _connect(form, player, actions)
                _build_insights(performed, actions)
            with gr.Tab("About", id="about"):
                gr.HTML(about_html(), apply_default_css=False)
        gr.HTML(FOOTER, apply_default_css=False)
        _connect_link(player, form)
        _connect_take_away(player, taken, actions)
        gr.api(actions.generate, api_name="generate", concurrency_id="generate", concurrency_limit=1)
    if services.study is not None:
        with blocks.route("Study", f"/{PATH}", show_in_navbar=False):
            build_study(assets)
    blocks.queue(max_size=32, api_open=False)
    return blocks


def _build_player(assets: Assets) -> gr.HTML:
    """Place the player; its template never changes, so that its canvas survives every new value."""
    return gr.HTML(
        None,
        html_template=PLAYER_TEMPLATE,
        js_on_load=PLAYER_START,
        apply_default_css=False,
        elem_id="cteg-player",
        player=assets.player_url,
        heads=assets.heads,
        first_head=assets.head_url,
        settings=settings_for_links(),
    )


def _connect(form: Form, player: gr.HTML, actions: Actions) -> Dependency:
    """Let the button and the Enter key perform the sentence; return the event."""
    rater = gr.Textbox(visible=False)  # filled by BEGIN: the browser's random id
    event = gr.on(
        [form.generate.click, form.text.submit],
        actions.generate_for_page,
        [*form.request, rater],
        player,
        js=BEGIN,
        trigger_mode="once",
        show_progress="hidden",
        concurrency_id="generate",
        concurrency_limit=1,
        api_visibility="private",
    )
    event.failure(None, None, None, js=END, api_visibility="private")
    return event


def _build_insights(performed: Dependency, actions: Actions) -> None:
    """Place what explains the faces; it costs nothing until it is opened, and follows every new result while it is."""
    with gr.Accordion("Why do they look like this?", open=False, elem_id="cteg-why") as why:
        feelings = gr.HTML(visible=False, apply_default_css=False)
        motion = gr.HTML(visible=False, apply_default_css=False)
        heading = gr.HTML(ACTIONS_HEADING, visible=False, apply_default_css=False)
        plot = gr.Plot(visible=False, show_label=False, container=False, elem_id="cteg-actions")
        distances = gr.HTML(visible=False, apply_default_css=False)
        again = gr.Button(elem_id="cteg-again")  # never seen: pressed by EXPLAIN_AGAIN
    run = gr.Textbox(visible=False)  # filled by EXPLAIN

    def explain(run: object) -> list[dict]:
        """Show what there is and hide what there is not."""
        found = actions.explain(run)
        shown = [found.feelings, found.motion, found.distances]
        boxes = [gr.update(value=value, visible=value is not None) for value in shown]
        figure = gr.update(value=found.actions, visible=found.actions is not None)
        return [*boxes, figure, gr.update(visible=found.actions is not None)]

    gr.on(
        [why.expand, again.click],
        explain,
        run,
        [feelings, motion, distances, plot, heading],
        js=EXPLAIN,
        show_progress="minimal",
        concurrency_id="generate",  # it asks the same model
        api_visibility="private",
    )
    why.collapse(None, None, None, js=EXPLAIN_NO_MORE, api_visibility="private")
    performed.success(None, None, None, js=EXPLAIN_AGAIN, api_visibility="private")


def _connect_link(player: gr.HTML, form: Form) -> None:
    """Let the address of the page fill the form and generate, once the player is there."""
    event = player.select(None, form.request, form.request, js=READ_LINK, api_visibility="private")
    event.success(None, None, None, js=FOLLOW_LINK, api_visibility="private")


def _connect_take_away(player: gr.HTML, taken: gr.File, actions: Actions) -> None:
    """Let the player ask for a file and hand it to the browser when it is made."""

    def take_away(event: gr.EventData, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - Gradio's way
        drop_oldest(taken.temp_files)
        return actions.take_away(event, progress)

    event = player.submit(
        take_away,
        None,
        taken,
        trigger_mode="once",
        concurrency_id="take-away",
        concurrency_limit=1,  # a film takes all cores
        api_visibility="private",
    )
    event.success(None, taken, None, js=TAKEN, api_visibility="private")
    event.failure(None, None, None, js=NOT_TAKEN, api_visibility="private")
