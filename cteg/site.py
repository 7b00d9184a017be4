"""A page of ready clips for any web server: the app's own player, chosen sentences, ratings that stay in the browser.

    OUT/index.html      the page
    OUT/player/         the player's modules and style sheets, as the app serves them
    OUT/fonts/          the app's letters
    OUT/heads/          geometry and portrait of each head
    OUT/clips/          one file per sentence: what the app would send to its player

Nothing in it asks another host: its content security policy lets it talk to its own folder only.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, Protocol

import orjson

from cteg import __version__
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.heads import portrait, read_head
from cteg.face.rig import check_space
from cteg.sentences import split_sentences
from cteg.text import check_text
from cteg.ui.about import about_html
from cteg.ui.assets import PLAYER_DIR
from cteg.ui.examples import EXAMPLES
from cteg.ui.form import settings_for_links
from cteg.ui.packing import shown

SITE_DIR = PLAYER_DIR.parent / "site"
STYLESHEETS = ("page.css", "player.css", "heads.css", "controls.css", "bars.css", "about.css", "site.css")
FONTS = ("IBMPlexSans-Regular.woff2", "IBMPlexSans-Bold.woff2")
FOLDERS = ("player", "fonts", "heads", "clips")
MARK = 'content="python -m cteg site"'
"""By this a page of ours is known, so that nothing else is ever overwritten."""

MOST_SENTENCES = 100
POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_IMPORT = re.compile(r'from "\./([\w.]+)"')


class Sentence(NamedTuple):
    """One sentence of the page.

    Attributes:
        label: What its button says above it; empty for nothing.
        text: What is performed.
    """

    label: str
    text: str


class Streams(Protocol):
    """What performs sentences; see `cteg.generator.Generator.stream`."""

    def stream(self, text: str, samples: int, temperature: float, seed: int, guidance: float) -> Iterator[list[Clip]]:
        """Yield the clips as far as they are, once for every part of the text."""
        ...


def example_sentences() -> list[Sentence]:
    """Return the examples of the app."""
    return [Sentence(label, text) for label, text in EXAMPLES.items()]


def read_sentences(path: Path) -> list[Sentence]:
    """Read sentences, one a line, each after a label and a tab if it has one; empty lines and `#` lines are skipped.

    Raises:
        InputError: There is no such file, no sentence in it, or one that cannot be performed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The sentences in {path} cannot be read as text in UTF-8.") from error
    found: dict[str, Sentence] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, tab, text = line.partition("\t")
        try:
            text = check_text(text if tab else label)
        except InputError as error:
            raise InputError(f"Line {number} of {path.name}: {error}") from error
        found.setdefault(text, Sentence(label.strip() if tab else "", text))
    if not 0 < len(found) <= MOST_SENTENCES:
        raise InputError(f"{path.name} has {len(found)} sentences; a page has 1 to {MOST_SENTENCES}.")
    return list(found.values())


def write_site(
    out: Path,
    generator: Streams,
    sentences: Iterable[Sentence],
    heads: Iterable[Path],
    settings: Mapping[str, Any],
    progress: Callable[[float], None] = lambda done: None,
) -> Path:
    """Perform sentences and write the page.

    Args:
        out: Folder for it: new, empty, or an earlier page, which is replaced.
        generator: Performs the sentences.
        sentences: Not empty.
        heads: Head files; the first one is shown first.
        settings: `samples`, `temperature`, `seed` and `guidance`, checked.
        progress: Called with 0...1.

    Returns:
        The page, `OUT/index.html`.

    Raises:
        InputError: There is something else in the folder, or it cannot be written.
        SpaceError: A head cannot perform the clips.
    """
    sentences, heads = list(sentences), list(dict.fromkeys(heads))
    _open_folder(out)  # before minutes are spent on what could not be written
    entries, runs = [], {}
    for number, sentence in enumerate(sentences, 1):
        run = _perform(generator, sentence.text, settings)
        for path in heads:
            check_space(read_head(path), run["space"])
        runs[f"clips/{run['run']}.json"] = run
        entries.append({"label": sentence.label, "text": sentence.text, "url": f"clips/{run['run']}.json"})
        progress(0.9 * number / len(sentences))
    facts = {"sentences": entries, "settings": settings_for_links(), "version": __version__}
    try:
        for name in FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir(parents=True)
        _copy_player(out)
        facts["heads"] = [_copy_head(path, out) for path in heads]
        for name, run in runs.items():
            (out / name).write_bytes(orjson.dumps(run))
        page = out / "index.html"
        page.write_text(_page(facts, str(next(iter(runs.values()))["weights"])), encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write to the folder {out}: {error.strerror}.") from error
    progress(1.0)
    return page


def _perform(generator: Streams, text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the app would send to its player; the tokens are names that follow from the clips."""
    ends = []
    for clips in generator.stream(text, **settings):
        ends.append([len(clip) for clip in clips])
    run = hashlib.sha256(b"".join(clip.coefficients.tobytes() for clip in clips) + text.encode()).hexdigest()[:16]
    tokens = [f"{run}-{index}" for index in range(len(clips))]
    value = shown(clips, ends, tokens)
    return {**value, "run": run, "parts": split_sentences(text), "notice": "", "partial": False}


def _open_folder(out: Path) -> None:
    """Make the folder of the page where it is missing; raise `InputError` if the page cannot stand there."""
    page = out / "index.html"
    if out.is_file():
        raise InputError(f"{out} is a file; the page needs a folder.")
    is_ours = page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace")
    if out.is_dir() and any(out.iterdir()) and not is_ours:
        raise InputError(f"There is something else in {out}; the page needs a folder of its own.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write to the folder {out}: {error.strerror}.") from error


def _copy_player(out: Path) -> None:
    """Copy the modules that the page's own one needs, the style sheets and the letters."""
    import gradio

    needed, waiting = set(), {"site.js"}
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= set(_IMPORT.findall(_source(name).read_text(encoding="utf-8"))) - needed
    for name in (*sorted(needed), "theme.js", *STYLESHEETS):
        shutil.copyfile(_source(name), out / "player" / name)
    fonts = Path(gradio.__file__).parent / "templates/frontend/static/fonts/IBMPlexSans"
    for name in FONTS:
        shutil.copyfile(fonts / name, out / "fonts" / name)


def _source(name: str) -> Path:
    own = SITE_DIR / name
    return own if own.is_file() else PLAYER_DIR / name


def _copy_head(path: Path, out: Path) -> dict[str, str]:
    """Copy a head and draw its portrait; return what the player needs to know of it."""
    head = read_head(path)
    stem = f"heads/{path.stem}"
    shutil.copyfile(path, out / f"{stem}.safetensors")
    (out / f"{stem}.webp").write_bytes(portrait(path))
    entry = {"name": head.name, "title": head.title, "space": head.space}
    return {**entry, "url": f"{stem}.safetensors", "portrait": f"{stem}.webp"}


def _page(facts: Mapping[str, Any], weights: str) -> str:
    links = "\n".join(f'<link rel="stylesheet" href="player/{name}">' for name in STYLESHEETS)
    return Template((SITE_DIR / "index.html").read_text(encoding="utf-8")).substitute(
        policy=POLICY,
        stylesheets=links,
        about=about_html(),
        version=html.escape(__version__),
        weights=html.escape(weights),
        facts=json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c"),
    )
