"""The form of the page: a sentence, examples and settings, and how a link of the page fills them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import gradio as gr

from cteg.ui.examples import EXAMPLES

MAX_CHARACTERS = 500

COUNT = f"""
(text) => {{
  document.querySelector("#cteg-text").dataset.count = text ? `${{text.length}} / {MAX_CHARACTERS}` : "";
}}
"""
ROLL = "() => Math.floor(Math.random() * 2147483640)"


@dataclass(frozen=True)
class Setting:
    """One setting of a request, as the page offers it.

    Attributes:
        name: Its name in the web API and in links.
        label: Its name for people.
        info: What it does, in a few words.
        low: Its lowest value.
        high: Its highest value.
        usual: Its value where nothing is chosen.
        step: 1 for whole numbers.
    """

    name: str
    label: str
    info: str
    low: float
    high: float
    usual: float
    step: float


SETTINGS = (
    Setting("samples", "Faces", "how many performances", 1, 8, 4, 1),
    Setting("temperature", "Temperature", "how much they may differ", 0, 2, 1, 0.05),
    Setting("seed", "Seed", "same seed, same faces", 0, 2**31 - 1, 7, 1),
    Setting("guidance", "Clarity", "how plainly the feeling shows", 0, 3, 0, 0.1),
)
"""In the order of the web API. The ranges are those of `cteg.sampling`, which brings torch and is imported later."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def settings_for_links() -> list[dict[str, str | float]]:
    """Return what the player needs to know of the settings, to make links and to read them."""
    return [asdict(setting) for setting in SETTINGS]


class Form(NamedTuple):
    """The inputs of the page."""

    text: gr.Textbox
    generate: gr.Button
    samples: gr.Slider
    temperature: gr.Slider
    seed: gr.Number
    guidance: gr.Slider

    @property
    def request(self) -> list[gr.components.Component]:
        """The inputs that make a request, in the order of the web API."""
        return [self.text, self.samples, self.temperature, self.seed, self.guidance]


def build_form() -> Form:
    """Lay out the sentence, the examples and the settings."""
    with gr.Column(elem_id="cteg-form"):
        with gr.Row(elem_id="cteg-say", equal_height=True):
            text = gr.Textbox(
                label="Sentence",
                show_label=False,
                placeholder="Say something with feeling…",
                lines=1,
                max_lines=4,
                max_length=MAX_CHARACTERS,
                autofocus=True,
                elem_id="cteg-text",
            )
            generate = gr.Button("Generate", variant="primary", elem_id="cteg-generate", scale=0, min_width=140)
        with gr.Row(elem_id="cteg-examples"):
            for feeling, sentence in EXAMPLES.items():
                chip = gr.Button(feeling, size="sm", elem_classes="cteg-chip", min_width=0, scale=0)
                chip.click(None, None, text, js=f"() => {json.dumps(sentence)}", api_visibility="private")
        with gr.Row(elem_id="cteg-settings"):
            samples, temperature, guidance = (_slider(name) for name in ("samples", "temperature", "guidance"))
            with gr.Row(elem_id="cteg-seed-row"):
                seed = _seed()
                dice = gr.Button("⚄", elem_id="cteg-dice", min_width=0, scale=0)
        text.change(None, text, None, js=COUNT, api_visibility="private")
        dice.click(None, None, seed, js=ROLL, api_visibility="private")
    return Form(text, generate, samples, temperature, seed, guidance)


def _slider(name: str) -> gr.Slider:
    setting = _BY_NAME[name]
    return gr.Slider(
        setting.low,
        setting.high,
        setting.usual,
        step=setting.step,
        label=setting.label,
        info=setting.info,
        elem_id=f"cteg-{name}",
        elem_classes="cteg-slider",
    )


def _seed() -> gr.Number:
    setting = _BY_NAME["seed"]
    return gr.Number(
        int(setting.usual),
        label=setting.label,
        info=setting.info,
        precision=0,
        minimum=int(setting.low),
        maximum=int(setting.high),
        elem_id="cteg-seed",
    )
