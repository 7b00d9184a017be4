"""The page that says what this is: how it works, what ships, what it cannot do."""

from __future__ import annotations

from html import escape
from typing import NamedTuple


class Box(NamedTuple):
    """One box of the figure: place and size in its units, name, and the module that does it."""

    x: int
    y: int
    width: int
    name: str
    module: str


BOXES = (
    Box(2, 20, 166, "Sentence", "cteg/text.py"),
    Box(205, 20, 165, "What to feel, this time", "model/sequence_latent.py"),
    Box(2, 150, 166, "Frames so far", "model/expression_attention.py"),
    Box(205, 150, 165, "A distribution", "model/layers.py, latent.py"),
    Box(415, 150, 150, "The next frames", "cteg/sampling.py"),
    Box(415, 20, 150, "A performance", "cteg/clip.py"),
    Box(610, 20, 140, "A head", "cteg/face/"),
    Box(610, 150, 140, "This page", "cteg/ui/"),
)
BOX_HEIGHT = 62
ARROWS = (
    "M168 51H205",  # sentence -> latent
    "M287 82V150",  # latent -> distribution
    "M168 181H205",  # frames so far -> distribution
    "M370 181H415",  # a draw -> next frames
    "M490 212V242H85V212",  # next frames -> frames so far
    "M490 150V82",  # next frames -> performance
    "M565 51H610",  # performance -> head
    "M680 82V150",  # head -> page
)

ABOUT = """
<article class="cteg-about">
<section>
<h2>What this is</h2>
<p>CTEG performs a written sentence with a face: it writes the movement of a 3D head, 25 frames a second, and for the
same sentence it writes a different performance every time, as a person would. It is an open implementation of the
<em>Continuous Text-to-Expression Generator</em> of Xu et al. (2025).</p>
</section>
<section>
<h2>How it works</h2>
<div class="figure">{figure}</div>
<p>The sentence is read once by a small language model. From its words the model first draws <em>what to feel and how to
show it</em>, then writes the face a few frames at a time: it looks at the frames so far and at the words, predicts a
<em>distribution</em> of what could come next, and draws from it. Other draws are other performances; the seed fixes the
draws, so the same seed gives the same face again.</p>
<dl>
<dt>Temperature</dt><dd>how far a draw may go from what is likeliest: 0 always gives the same face.</dd>
<dt>Clarity</dt><dd>how much more strongly than learned the words decide: plainer feelings, less variety.</dd>
</dl>
</section>
<section>
<h2>What ships, and what does not</h2>
<p>The bundled weights, <code>cteg-open</code>, learned from English sentences with feelings that people assigned
(GoEmotions and XED, CC BY 4.0; others were written for this project) and from facial performances that a program
<em>synthesised</em> after published studies of facial action (FACS), with the mouth's motion cut from real captures
(FACEGOOD, MIT). They have seen nobody perform these sentences. The paper's data set (EmoAva) and the FLAME head may not
be redistributed and are not in here, so figures of these weights cannot be compared with the paper's.</p>
<p>The heads are built from MakeHuman's CC0 data. The code is under Apache 2.0. <code>docs/licences.md</code> lists
every asset with its licence.</p>
</section>
<section>
<h2>What it cannot do</h2>
<ul>
<li>It reads English only, misreads many sentences, and irony escapes it; the faces show what it read.</li>
<li>It knows nothing of who speaks, or to whom. The heads are not real people, and a face shown here says nothing about
people who look like it.</li>
<li>The performances are conventions from the literature, learned from synthetic ones: not evidence of how people
express feelings, and no means to judge what anybody feels.</li>
<li>The mouth follows the rhythm of speech, not its sounds; the head itself does not move.</li>
</ul>
</section>
<section>
<h2>With EmoAva and FLAME</h2>
<p>Who has accepted the licences of EmoAva and FLAME can train on the one and show the other:
<code>docs/emoava.md</code> and <code>docs/flame.md</code> name the commands. They import the data, train, convert the
authors' checkpoint, and bring a FLAME head into this page.</p>
</section>
<section>
<h2>Citation</h2>
<pre tabindex="0">@inproceedings{{xu2025when,
  title     = {{When Words Smile: Generating Diverse Emotional
               Facial Expressions from Text}},
  author    = {{Xu, Haidong and Zhang, Meishan and Ju, Hao and
               Zheng, Zhedong and Cambria, Erik and Zhang, Min and
               Fei, Hao}},
  booktitle = {{Proceedings of the 2025 Conference on Empirical
               Methods in Natural Language Processing}},
  publisher = {{Association for Computational Linguistics}},
  pages     = {{27016--27034}},
  year      = {{2025}},
  note      = {{arXiv:2412.02508}}
}}</pre>
</section>
</article>
"""


def about_html() -> str:
    """Return the page."""
    return ABOUT.format(figure=figure_svg())


def figure_svg() -> str:
    """Draw how a sentence becomes a performance; the boxes are named after modules."""
    boxes = "".join(
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{BOX_HEIGHT}" rx="12"/>'
        f'<text x="{box.x + box.width / 2}" y="{box.y + 27}">{escape(box.name)}</text>'
        f'<text class="module" x="{box.x + box.width / 2}" y="{box.y + 46}">{escape(box.module)}</text>'
        for box in BOXES
    )
    arrows = "".join(f'<path d="{path}" marker-end="url(#cteg-arrow)"/>' for path in ARROWS)
    told = (
        "A sentence gives what to feel this time. Together with the frames so far it gives a distribution, from which "
        "the next frames are drawn; they join the frames so far. All frames are a performance, shown on a head."
    )
    return (
        f'<svg viewBox="0 0 760 256" role="img" aria-label="{told}"><defs><marker id="cteg-arrow" viewBox="0 0 8 8" '
        'refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/>'
        f"</marker></defs>{arrows}{boxes}</svg>"
    )
