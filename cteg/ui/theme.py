"""Colours and letters of the page as a Gradio theme; all fonts come with Gradio, none from elsewhere.

Of Gradio's copy of IBM Plex Sans only Regular and Bold hold all letters; SemiBold is a subset.
"""

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

PAPER, PAPER_DARK = "#f5f2ed", "#131016"
SURFACE, SURFACE_DARK = "#fffdfa", "#1d1922"
INK, INK_DARK = "#231c29", "#f1ebf3"
MUTED, MUTED_DARK = "#6a6170", "#a99fb2"
LINE, LINE_DARK = "#ddd5cb", "#372f3f"
ACCENT, ACCENT_DARK = "#ad3f27", "#ff9475"
ACCENT_STRONG, ACCENT_STRONG_DARK = "#8f3220", "#ffae96"
ON_ACCENT, ON_ACCENT_DARK = "#ffffff", "#2a0f08"


def make_theme() -> gr.themes.Base:
    """Return the theme: warm paper by day, a dim room by night, one accent."""
    theme = gr.themes.Base(
        primary_hue=colors.orange,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_lg,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    theme.set(
        body_background_fill=PAPER,
        body_background_fill_dark=PAPER_DARK,
        body_text_color=INK,
        body_text_color_dark=INK_DARK,
        body_text_color_subdued=MUTED,
        body_text_color_subdued_dark=MUTED_DARK,
        background_fill_primary=SURFACE,
        background_fill_primary_dark=SURFACE_DARK,
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_padding="0",
        block_shadow="none",
        block_label_text_color=MUTED,
        block_label_text_color_dark=MUTED_DARK,
        block_info_text_color=MUTED,
        block_info_text_color_dark=MUTED_DARK,
        border_color_primary=LINE,
        border_color_primary_dark=LINE_DARK,
        input_background_fill=SURFACE,
        input_background_fill_dark=SURFACE_DARK,
        input_border_color=LINE,
        input_border_color_dark=LINE_DARK,
        input_border_color_focus=ACCENT,
        input_border_color_focus_dark=ACCENT_DARK,
        slider_color=ACCENT,
        slider_color_dark=ACCENT_DARK,
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_dark=ACCENT_DARK,
        button_primary_background_fill_hover=ACCENT_STRONG,
        button_primary_background_fill_hover_dark=ACCENT_STRONG_DARK,
        button_primary_text_color=ON_ACCENT,
        button_primary_text_color_dark=ON_ACCENT_DARK,
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        button_secondary_text_color=INK,
        button_secondary_text_color_dark=INK_DARK,
        layout_gap="0.75rem",
    )
    return theme
