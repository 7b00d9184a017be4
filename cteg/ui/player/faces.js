/** The cells of the faces: a window to look through, and the rating below it; all of them, or one or two large. */

import { BestChoice } from "./best.js";
import { element, iconButton, relabel } from "./dom.js";
import { RatingScale } from "./ratings.js";

const KEYS = "Faces: space plays, comma and full stop step, arrows turn, plus and minus zoom";
const MOST_LARGE = 2;

/**
 * @typedef {object} Answers What was answered before.
 * @property {(number | null)[]} scores One for every face, null where it is not rated.
 * @property {number | null} best Index of the best face.
 */

export class FaceGrid {
  /**
   * @param {object} listeners
   * @param {(rating: object) => Promise<void>} listeners.saveRating See `RatingScale`.
   * @param {(choice: object) => Promise<void>} listeners.saveChoice See `BestChoice`.
   * @param {() => void} listeners.onrated Called whenever an answer was saved or taken back.
   * @param {(message: string) => void} listeners.onfailed Called when a choice was not saved.
   * @param {() => void} listeners.onlayout Called when faces moved on the page.
   */
  constructor(listeners) {
    this.#listeners = listeners;
    this.node = element("div", { class: "faces", tabIndex: 0, role: "group", "aria-label": KEYS }, element("canvas"));
    this.node.addEventListener("dblclick", (event) => this.#onDoubleClick(event));
    this.views = element("div", { class: "views", role: "group", "aria-label": "Faces shown large", hidden: true });
  }

  #listeners;
  #scales = [];
  #choice = null;
  #picked = null; // the face that waits for another one to be compared with
  #large = []; // indices, in the order in which they were chosen

  /** What is answered and saved. @returns {Answers} */
  get answers() {
    return { scores: this.#scales.map((scale) => scale.score), best: this.#choice?.best ?? null };
  }

  /** How many answers are saved. */
  get answered() {
    return this.rated + (this.answers.best === null ? 0 : 1);
  }

  /** How many faces are rated. */
  get rated() {
    return this.answers.scores.filter((score) => score !== null).length;
  }

  /** Index of the first face that is shown. */
  get firstShown() {
    return this.#large.length ? Math.min(...this.#large) : 0;
  }

  /**
   * Makes one cell for every clip.
   *
   * @param {import("./clip.js").Clip[]} clips
   * @param {Partial<Answers>} answers
   * @param {boolean} isSame Whether these are the faces that are shown already, further on: large ones stay large.
   */
  fill(clips, { scores = [], best = null } = {}, isSame = false) {
    const { saveChoice, onrated, onfailed } = this.#listeners;
    const onchange = (failure) => (failure ? onfailed(failure) : onrated());
    this.node.querySelectorAll(".face").forEach((face) => face.remove());
    const real = clips.filter((clip) => clip.seed !== null);
    this.#choice = real.length > 1 ? new BestChoice(real, saveChoice, onchange, best) : null;
    this.#scales = [];
    clips.forEach((clip, index) => {
      const label = clip.seed === null ? "A waiting face" : `Face ${index + 1} of ${clips.length}`;
      const picture = element("div", { class: "picture", role: "img", "aria-label": label });
      const window = element("div", { class: "window" }, picture);
      const face = element("figure", { class: "face" }, window);
      face.dataset.index = String(index);
      if (clip.seed !== null) this.#equip(face, window, clip, index, clips.length, scores[index] ?? null);
      this.node.append(face);
    });
    this.#makeViews(clips.length);
    this.show(isSame ? this.#large : []);
  }

  /**
   * Shows some faces large and hides the others.
   *
   * @param {number[]} large Their indices; of more than two the last two count, and none shows all.
   */
  show(large) {
    this.#large = large.slice(-MOST_LARGE);
    this.#pick(null);
    const isShown = (index) => this.#large.includes(index);
    this.node.querySelectorAll(".face").forEach((face, index) => {
      face.classList.toggle("enlarged", isShown(index));
      const button = face.querySelector(".enlarge");
      if (button && isShown(index)) relabel(button, "shrink", "Show all faces");
      else if (button) relabel(button, "enlarge", `Enlarge face ${index + 1}`);
    });
    this.node.dataset.large = String(this.#large.length);
    this.views.hidden = !this.#large.length;
    [...this.views.querySelectorAll("[data-face]")].forEach((button, index) =>
      button.setAttribute("aria-pressed", String(isShown(index))),
    );
    this.#listeners.onlayout();
  }

  /** Shows one face large, or all if it is large already. */
  enlarge(index) {
    this.show(this.#large.includes(index) ? [] : [index]);
  }

  /** Shows a face beside the one that was picked before; the first of two is picked. */
  compare(index) {
    if (this.#picked === null || this.#picked === index) this.#pick(this.#picked === index ? null : index);
    else this.show([this.#picked, index]);
  }

  /**
   * Does what a key means on the face that has the focus: 1 to 5 rate it, B calls it the best.
   *
   * @returns {boolean} Whether the key meant something.
   */
  onKey(event) {
    const face = event.target.closest?.(".face");
    const index = Number(face?.dataset.index);
    if (!face || !this.#scales[index] || event.ctrlKey || event.metaKey || event.altKey) return false;
    if (/^[1-5]$/.test(event.key)) this.#scales[index].choose(Number(event.key));
    else if (event.key.toLowerCase() === "b") this.#choice?.toggle(index);
    else return false;
    return true;
  }

  /** Adds number, seed, buttons and rating to a cell. */
  #equip(face, window, clip, index, faces, score) {
    const seed = element("span", { class: "seed", text: `seed ${clip.seed}`, title: "This seed makes this face again" });
    const compare = iconButton("compare", `Compare face ${index + 1}`, () => this.compare(index));
    const enlarge = iconButton("enlarge", `Enlarge face ${index + 1}`, () => this.enlarge(index));
    compare.classList.add("compare");
    enlarge.classList.add("enlarge");
    const buttons = element("span", { class: "looks" }, ...(faces > 1 ? [compare] : []), enlarge);
    window.append(element("span", { class: "number", text: String(index + 1) }), buttons, seed);
    if (this.#choice) window.append(this.#choice.buttons[index]);
    const { saveRating, onrated } = this.#listeners;
    const scale = new RatingScale(index + 1, clip.token, saveRating, onrated, score);
    this.#scales.push(scale);
    face.append(element("figcaption", {}, scale.node));
  }

  /** The buttons above large faces: back to all, and which ones are large. */
  #makeViews(faces) {
    const all = element("button", { type: "button", text: "All faces", onclick: () => this.show([]) });
    const toggle = (index) => {
      const others = this.#large.filter((other) => other !== index);
      this.show(others.length < this.#large.length ? others : [...this.#large, index]);
    };
    const numbers = Array.from({ length: faces }, (_, index) => {
      const attributes = { type: "button", text: String(index + 1), "aria-label": `Face ${index + 1}` };
      const button = element("button", { ...attributes, onclick: () => toggle(index) });
      button.dataset.face = String(index);
      return button;
    });
    const hint = element("span", { class: "hint", text: "Two at most, side by side." });
    this.views.replaceChildren(all, ...(faces > 1 ? [...numbers, hint] : []));
  }

  #pick(index) {
    this.#picked = index;
    this.node.querySelectorAll(".face").forEach((face, other) => {
      face.classList.toggle("picked", other === index);
      const button = face.querySelector(".compare");
      if (!button) return;
      button.setAttribute("aria-pressed", String(other === index));
      const waits = index !== null && other !== index;
      button.title = waits ? `Compare with face ${index + 1}` : `Compare face ${other + 1} with another one`;
    });
  }

  #onDoubleClick(event) {
    const window = event.target.closest(".window");
    if (!window || event.target.closest("button") || !this.#scales.length) return;
    this.enlarge(Number(window.closest(".face").dataset.index));
  }
}
