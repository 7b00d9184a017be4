/** The line above the faces: what is asked, the thanks, and whether the sentence may be kept. */

import { count, element } from "./dom.js";
import { QUESTION } from "./ratings.js";
import * as server from "./server.js";

const MEANING = "Unticked, a rating is stored with a fingerprint of the sentence instead of its words.";

export class QuestionLine {
  constructor() {
    this.#keep = element("input", { type: "checkbox", checked: server.keepsSentence() });
    this.#keep.addEventListener("change", () => server.rememberKeepsSentence(this.#keep.checked));
    this.#best = element("span", { text: "Which one is best? ☆ " });
    this.#tally = element("span", { class: "tally", role: "status" });
    const label = element("label", { class: "keep", title: MEANING }, this.#keep, "keep my sentence with my ratings");
    const asked = element("p", {}, element("strong", { text: QUESTION }), " 1 not at all … 5 perfectly. ");
    asked.append(this.#best, this.#tally);
    this.node = element("div", { class: "question" }, asked, label);
    addEventListener("storage", (event) => this.#onOtherTab(event));
  }

  #keep;
  #best;
  #tally;
  #given = 0; // answers about the faces that are shown
  #thanks = "";

  /** Whether the person agreed to keep the sentence. */
  get keeps() {
    return this.#keep.checked;
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
    const total = server.countRatings(answers - this.#given);
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
    if (event.key === server.COUNT) this.#tell(server.countRatings(0));
  }
}
