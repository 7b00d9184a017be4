/** The line above the faces: what is asked, the thanks, and whether the sentence may be kept. */

import { count, element } from "./dom.js";
import { QUESTION } from "./ratings.js";
import * as memory from "./memory.js";

const MEANING = "Unticked, a rating is stored with a fingerprint of the sentence instead of its words.";

export class QuestionLine {
  /** @param {boolean} asks Whether sentences are a person's own, so that keeping them needs a tick. */
  constructor(asks) {
    this.#asks = asks;
    this.#keep = element("input", { type: "checkbox", checked: memory.keepsSentence() });
    this.#keep.addEventListener("change", () => memory.rememberKeepsSentence(this.#keep.checked));
    this.#best = element("span", { text: "Which one is best? ☆ " });
    this.#tally = element("span", { class: "tally", role: "status" });
    const label = element("label", { class: "keep", title: MEANING, hidden: !asks }, this.#keep, "keep my sentence with my ratings");
    const asked = element("p", {}, element("strong", { text: QUESTION }), " 1 not at all … 5 perfectly. ");
    asked.append(this.#best, this.#tally);
    this.node = element("div", { class: "question" }, asked, label);
    addEventListener("storage", (event) => this.#onOtherTab(event));
  }

  #asks;
  #keep;
  #best;
  #tally;
  #given = 0; // answers about the faces that are shown
  #thanks = "";

  /** Whether the sentence may be kept. */
  get keeps() {
    return !this.#asks || this.#keep.checked;
  }

  /** Begins with the answers that other faces have already. */
  begin(faces, answers) {
    this.#best.hidden = faces < 2;
    this.#given = answers;
  }

  /**
   * Thanks for the answers to these faces, and counts what changed.
   *
   * @param {number} answers Scores and choices that stand.
   * @param {boolean} isComplete Whether every face has a score.
   */
  thank(answers, isComplete) {
    const total = memory.countRatings(answers - this.#given);
    this.#given = answers;
    this.#thanks = answers ? (isComplete ? "All rated, thank you" : "Thank you") : "";
    this.#tell(total);
  }

  /** Says that an answer was not saved. */
  regret(message) {
    this.#tally.dataset.state = "failed";
    this.#tally.textContent = message.startsWith("Not saved") ? message : `Not saved: ${message}`;
  }

  #tell(total) {
    delete this.#tally.dataset.state;
    this.#tally.textContent = this.#thanks && `${this.#thanks}: ${count(total, "rating")} from you so far.`;
  }

  /** Ratings of other tabs count as well. */
  #onOtherTab(event) {
    if (event.key === memory.COUNT) this.#tell(memory.countRatings(0));
  }
}
