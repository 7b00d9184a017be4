/** The words under the faces: what is being performed at this moment, shown on request. */

import { element, iconButton } from "./dom.js";
import { rememberCaptions, wantsCaptions } from "./memory.js";

export class Captions {
  constructor() {
    this.node = element("p", { class: "caption" });
    this.button = iconButton("captions", "Captions", () => this.#toggle());
    this.#show();
  }

  #parts = [];
  #ends = [];

  /**
   * Follows a result.
   *
   * @param {import("./player.js").Run | null} run
   * @param {number} face Index of the face whose words are shown: the others may be faster or slower.
   */
  follow(run, face = 0) {
    this.#parts = run ? run.parts ?? [run.text] : [];
    this.#ends = run?.clips[face]?.ends ?? [];
    this.#show();
  }

  /** Shows the words of a frame. */
  update(frame) {
    const text = this.#parts[partAt(this.#ends, frame, this.#parts.length)] ?? "";
    if (this.node.textContent !== text) this.node.textContent = text;
  }

  /** The words as cues for a film. */
  cues(fps, frames) {
    return this.#parts.map((text, part) => {
      const [begin, end] = [this.#ends[part - 1] ?? 0, this.#ends[part] ?? frames];
      return new VTTCue(begin / fps, end / fps, escapeCue(text));
    });
  }

  #toggle() {
    rememberCaptions(this.node.hidden);
    this.#show();
  }

  /** Where nothing was chosen, only what is performed in several parts has captions. */
  #show() {
    const wanted = wantsCaptions() ?? this.#parts.length > 1;
    this.node.hidden = !wanted;
    this.button.setAttribute("aria-pressed", String(wanted));
  }
}

/** Index of the part to which a frame belongs. */
function partAt(ends, frame, parts) {
  const part = ends.findIndex((end) => frame < end);
  return part < 0 ? parts - 1 : part;
}

/** A cue's text is read as markup. */
function escapeCue(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
