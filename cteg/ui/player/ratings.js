/** The 1-5 scale under one face: choosing, saving, taking back. */

import { element } from "./dom.js";
import { randomId } from "./memory.js";

export const QUESTION = "How well does the face fit the feeling of the sentence?";
const MEANINGS = { 1: "1, not at all", 2: "2", 3: "3", 4: "4", 5: "5, perfectly" };

export class RatingScale {
  /**
   * @param {number} number Number of the face, from 1.
   * @param {string | null} token Key of the clip; null where ratings are off.
   * @param {(rating: {token: string, score: number | null, id: string}) => Promise<void>} save Rejects with one
   * sentence where the rating was not saved.
   * @param {() => void} onchange Called whenever a score was saved or taken back.
   * @param {number | null} score The score that was saved before.
   */
  constructor(number, token, save, onchange, score = null) {
    this.score = score; // as saved
    this.#token = token;
    this.#save = save;
    this.#onchange = onchange;
    this.#buttons = [1, 2, 3, 4, 5].map((score) => this.#makeButton(score));
    this.#note = element("span", { class: "note", role: "status" });
    this.#action = element("button", { type: "button", class: "link", hidden: true });
    const label = `Face ${number}: ${QUESTION}`;
    const scale = element("div", { class: "scale", role: "radiogroup", "aria-label": label }, ...this.#buttons);
    scale.addEventListener("keydown", (event) => this.#moveFocus(event));
    const ends = element("div", { class: "ends", "aria-hidden": "true" });
    ends.append(element("span", { text: "not at all" }), element("span", { text: "perfectly" }));
    const below = element("div", { class: "below" }, ends, element("p", {}, this.#note, " ", this.#action));
    this.node = element("div", { class: "rating" }, scale, below);
    if (score === null) this.#show(null, "open");
    else this.#showSaved();
  }

  #token;
  #save;
  #onchange;
  #buttons;
  #note;
  #action;
  #previous = null;
  #queue = Promise.resolve();

  /** Chooses a score and saves it; choosing the saved one again does nothing. */
  choose(score) {
    if (!this.#token) return;
    this.#send({ score, id: randomId() });
  }

  /** Saves one change; changes of one face are sent one after the other, so that the last one wins. */
  #send(change) {
    this.#show(change.score, "saving", "Saving…");
    this.#queue = this.#queue.then(async () => {
      if (change.score === this.score) return this.#showSaved();
      try {
        await this.#save({ token: this.#token, ...change });
      } catch (error) {
        return this.#showFailure(change, error.message);
      }
      this.#previous = this.score;
      this.score = change.score;
      this.#showSaved();
      this.#onchange();
    });
  }

  #showSaved() {
    const taken = this.score === null;
    this.#show(this.score, taken ? "open" : "saved", taken ? "Taken back" : "Saved");
    if (taken) return;
    this.#offer("Undo", () => this.#send({ score: this.#previous, id: randomId() }));
  }

  #showFailure(change, message) {
    this.#show(this.score, "failed", message.startsWith("Not saved") ? "Not saved" : message);
    this.#note.title = message;
    this.#offer("Try again", () => this.#send(change));
  }

  #offer(text, action) {
    this.#action.textContent = text;
    this.#action.onclick = () => {
      const focused = this.#buttons.find((button) => button.tabIndex === 0);
      action();
      focused.focus();
    };
    this.#action.hidden = false;
  }

  #show(score, state, note = "") {
    this.node.dataset.state = state;
    this.node.dataset.score = score ?? "";
    this.#note.textContent = note;
    this.#note.title = "";
    this.#action.hidden = true;
    this.#buttons.forEach((button, index) => {
      button.setAttribute("aria-checked", String(index + 1 === score));
      button.tabIndex = index + 1 === (score ?? 1) ? 0 : -1;
    });
  }

  #makeButton(score) {
    const onclick = () => this.choose(score);
    const attributes = { type: "button", role: "radio", "aria-label": MEANINGS[score], text: String(score), onclick };
    return element("button", { ...attributes, disabled: !this.#token });
  }

  /** Arrow keys move between the scores without choosing: each choice is saved, so passing by must not be one. */
  #moveFocus(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    const present = this.#buttons.indexOf(/** @type {any} */ (event.target));
    this.#buttons[Math.min(Math.max(present + steps[event.key], 0), 4)].focus();
  }
}
