/** The words under the faces: what is being performed at this moment, shown on request. */

import { element, iconButton } from "./dom.js";
import { rememberCaptions, wantsCaptions } from "./server.js";

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

  /** Captions for a film, as WebVTT. */
  asTrack(fps, frames) {
    const cues = this.#parts.map((text, part) => {
      const [begin, end] = [this.#ends[part - 1] ?? 0, this.#ends[part] ?? frames];
      return `${timestamp(begin / fps)} --> ${timestamp(end / fps)}\n${escapeCue(text)}\n`;
    });
    return ["WEBVTT\n", ...cues].join("\n");
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

function timestamp(seconds) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(seconds / 60)}:${(seconds % 60).toFixed(3).padStart(6, "0")}`;
}

function escapeCue(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
