/** Where the browser cannot draw faces: a film of them, which the server makes on request. */

import { element } from "./dom.js";

export class Film {
  /** @param {boolean} calm Whether it must not start by itself. */
  constructor(calm) {
    this.#calm = calm;
    this.#status = element("p", { class: "detail", role: "status" });
    this.#video = element("video", { controls: true, loop: true, muted: true, playsInline: true });
    this.#words = this.#video.addTextTrack("captions", "English", "en");
    this.node = element("div", { class: "film", hidden: true }, this.#status, this.#video);
  }

  #calm;
  #status;
  #video;
  #words;

  /** Says that a film is being made; the last one makes room. */
  wait() {
    this.#video.hidden = true;
    this.#video.pause();
    this.#status.textContent = "The server is making a film of these faces; it takes some ten seconds.";
    this.#status.hidden = false;
    this.node.hidden = false;
  }

  /**
   * Shows a film that was made.
   *
   * @param {{url: string} | null} file Null where it could not be made.
   * @param {string} label What it shows, for screen readers.
   * @param {VTTCue[]} cues What is said when.
   */
  show(file, label, cues) {
    this.#status.hidden = Boolean(file);
    this.#video.hidden = !file;
    if (!file) {
      this.#status.textContent = "The film could not be made; please press Generate again.";
      return;
    }
    this.#words.mode = "showing"; // a track that is off has no cues
    for (const old of [...this.#words.cues]) this.#words.removeCue(old);
    for (const cue of cues) this.#words.addCue(cue);
    this.#video.setAttribute("aria-label", label);
    this.#video.src = file.url;
    if (!this.#calm) this.#video.play().catch(() => {}); // some browsers wait for a press
  }
}
