/** The cells of the faces: a window to look through, and the rating below it. */

import { element, iconButton } from "./dom.js";
import { RatingScale } from "./ratings.js";

const KEYS = "Faces: space plays, comma and full stop step, arrows turn, plus and minus zoom";

export class FaceGrid {
  /**
   * @param {object} listeners
   * @param {import("./ratings.js").Circumstances} listeners.circumstances
   * @param {() => void} listeners.onrated Called whenever a score was saved or taken back.
   * @param {() => void} listeners.onlayout Called when faces moved on the page.
   */
  constructor(listeners) {
    this.#listeners = listeners;
    this.node = element("div", { class: "faces", tabIndex: 0, role: "group", "aria-label": KEYS }, element("canvas"));
    this.node.addEventListener("dblclick", (event) => this.#onDoubleClick(event));
  }

  #listeners;
  #scales = [];

  /** The saved scores, in order; null where a face is not rated. */
  get scores() {
    return this.#scales.map((scale) => scale.score);
  }

  /** How many faces are rated. */
  get rated() {
    return this.scores.filter((score) => score !== null).length;
  }

  /**
   * Makes one cell for every clip.
   *
   * @param {import("./clip.js").Clip[]} clips
   * @param {(number | null)[]} scores Scores saved before.
   */
  fill(clips, scores) {
    this.node.querySelectorAll(".face").forEach((face) => face.remove());
    this.#scales = [];
    clips.forEach((clip, index) => {
      const label = clip.seed === null ? "A waiting face" : `Face ${index + 1} of ${clips.length}`;
      const picture = element("div", { class: "picture", role: "img", "aria-label": label });
      const window = element("div", { class: "window" }, picture);
      const face = element("figure", { class: "face" }, window);
      face.dataset.index = String(index);
      if (clip.seed !== null) this.#equip(face, window, clip, index, scores[index] ?? null);
      this.node.append(face);
    });
    this.enlarge(null);
  }

  /** Shows one face alone, or all with null or with the face that is alone already. */
  enlarge(face) {
    const enlarged = face && !face.classList.contains("enlarged") ? face : null;
    this.node.querySelectorAll(".face").forEach((other) => other.classList.toggle("enlarged", other === enlarged));
    this.node.classList.toggle("one-enlarged", Boolean(enlarged));
    this.#listeners.onlayout();
  }

  /** Rates the face that has the focus if a key from 1 to 5 was pressed there; returns whether it did. */
  rateByKey(event) {
    const face = event.target.closest?.(".face");
    const scale = face && this.#scales[Number(face.dataset.index)];
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!scale || !plain || !/^[1-5]$/.test(event.key)) return false;
    scale.choose(Number(event.key));
    return true;
  }

  /** Adds number, seed, enlarge button and rating to a cell. */
  #equip(face, window, clip, index, score) {
    const enlarge = iconButton("enlarge", `Enlarge face ${index + 1}`, () => this.enlarge(face));
    const seed = element("span", { class: "seed", text: `seed ${clip.seed}`, title: "This seed makes this face again" });
    window.append(element("span", { class: "number", text: String(index + 1) }), enlarge, seed);
    const { circumstances, onrated } = this.#listeners;
    const scale = new RatingScale(index + 1, clip.token, circumstances, onrated, score);
    this.#scales.push(scale);
    face.append(element("figcaption", {}, scale.node));
  }

  #onDoubleClick(event) {
    const window = event.target.closest(".window");
    if (window && this.#scales.length) this.enlarge(window.closest(".face"));
  }
}
