/** The questions of a page: each is asked when the one before it is answered, each answer may change. */

import { element } from "./dom.js";

export class Questions {
  /** @param {(question: string, value: string | number) => void} onanswer */
  constructor(onanswer) {
    this.#onanswer = onanswer;
    this.node = element("div", { class: "questions" });
  }

  #onanswer;
  #questions = [];
  #isOpen = false;

  /**
   * Shows the questions that are asked so far, with their present answers.
   *
   * @param {{name: string, text: string, choices: [string | number, string][], answer: string | number | null}[]} questions
   * @param {boolean} isOpen Whether they may be answered yet.
   */
  show(questions, isOpen) {
    this.#isOpen = isOpen;
    const kept = this.#questions.length <= questions.length && this.#questions.every((q, i) => q.name === questions[i].name);
    if (!kept) this.node.replaceChildren();
    for (const question of questions.slice(this.node.children.length)) this.node.append(this.#make(question));
    this.#questions = questions;
    questions.forEach((question, index) => {
      const field = /** @type {HTMLFieldSetElement} */ (this.node.children[index]);
      field.disabled = !isOpen;
      field.querySelectorAll("input").forEach((input, place) => {
        input.checked = question.choices[place][0] === question.answer;
      });
    });
  }

  /** Answers the question that is open, or the last one, by the number of a choice. */
  chooseByNumber(number) {
    const question = this.#questions.find(({ answer }) => answer === null) ?? this.#questions.at(-1);
    const choice = question?.choices[number - 1];
    if (this.#isOpen && choice) this.#onanswer(question.name, choice[0]);
  }

  #make(question) {
    const isScale = question.choices.every(([value]) => typeof value === "number");
    const options = question.choices.map(([value, label], place) => {
      const onchange = () => this.#onanswer(question.name, value);
      const input = element("input", { type: "radio", name: `cteg-${question.name}`, onchange });
      const number = element("kbd", { text: String(place + 1), "aria-hidden": "true" });
      return element("label", {}, input, number, element("span", { text: label }));
    });
    const choices = element("div", { class: "choices" }, ...options);
    choices.classList.toggle("scale-of-5", isScale);
    return element("fieldset", {}, element("legend", { text: question.text }), choices);
  }
}
