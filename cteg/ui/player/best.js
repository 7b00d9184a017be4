/** Which of the faces is the best: one choice for all of them, to be changed and taken back. */

import { element } from "./dom.js";
import { randomId } from "./memory.js";

const NAMES = { true: "★ best", false: "☆ best" };

export class BestChoice {
  /**
   * @param {import("./clip.js").Clip[]} clips
   * @param {(choice: {token: string, isBest: boolean, id: string}) => Promise<void>} save Rejects with one sentence
   * where the choice was not saved.
   * @param {(failure: string) => void} onchange Called whenever a choice was saved or taken back, and with one
   * sentence when it was not.
   * @param {number | null} best Index of the face that was chosen before.
   */
  constructor(clips, save, onchange, best = null) {
    this.best = best; // as saved
    this.#clips = clips;
    this.#store = save;
    this.#onchange = onchange;
    this.buttons = clips.map((clip, index) => this.#makeButton(clip, index));
    this.#show(best);
  }

  #clips;
  #store;
  #onchange;
  #shown = null; // what was pressed last, saved or not
  #queue = Promise.resolve();

  /** Chooses a face, or takes the choice back if it is the chosen one. */
  toggle(index) {
    if (!this.#clips[index].token) return;
    const wanted = index === this.#shown ? null : index;
    const id = randomId();
    this.#show(wanted);
    this.#queue = this.#queue.then(() => this.#save(wanted, id)); // one after the other, so that the last one wins
  }

  async #save(wanted, id) {
    const changed = wanted ?? this.best;
    if (wanted === this.best || changed === null) return;
    const { token } = this.#clips[changed];
    try {
      await this.#store({ token, isBest: wanted !== null, id });
    } catch (error) {
      if (this.#shown === wanted) this.#show(this.best);
      this.#onchange(error.message);
      return;
    }
    this.best = wanted;
    this.#onchange("");
  }

  #show(best) {
    this.#shown = best;
    this.buttons.forEach((button, index) => {
      const isBest = index === best;
      button.setAttribute("aria-pressed", String(isBest));
      button.textContent = NAMES[isBest];
      button.title = isBest ? "The best of these; press again to take that back" : "The best of these (key: B)";
    });
  }

  #makeButton(clip, index) {
    const button = element("button", { type: "button", class: "best", disabled: !clip.token });
    button.setAttribute("aria-label", `Face ${index + 1} is the best of these`);
    button.addEventListener("click", () => this.toggle(index));
    return button;
  }
}
