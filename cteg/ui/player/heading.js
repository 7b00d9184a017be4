/** What stands above the faces: notices, the sentence, and what made its faces. */

import { element } from "./dom.js";

export class Heading {
  constructor() {
    this.notice = element("p", { class: "notice", role: "status", hidden: true });
    this.complaint = element("p", { class: "notice", role: "status", hidden: true });
    this.#headline = element("p", { class: "sentence" });
    this.#detail = element("p", { class: "detail" });
    this.node = element("div", { class: "heading", role: "status" }, this.#headline, this.#detail);
  }

  #headline;
  #detail;

  /** Writes the two lines. */
  announce(sentence, detail) {
    this.#headline.textContent = sentence;
    this.#detail.textContent = detail;
  }

  /**
   * Names a result and what made it.
   *
   * @param {import("./player.js").Run} run
   */
  describe(run) {
    const clarity = run.guidance ? ` · clarity ${run.guidance}` : "";
    this.announce(run.text, `seed ${run.seed} · temperature ${run.temperature}${clarity} · ${run.weights}`);
    this.notify(run.notice);
  }

  /** Invites where nothing is shown yet. */
  invite(canType) {
    const how = canType ? "Type one above, or pick a feeling to start from." : "Pick one above.";
    this.announce(`Four faces are waiting for ${canType ? "your" : "a"} sentence.`, how);
  }

  /** Says more about a wait that became long. */
  reassure(text, isLoading) {
    const waking = "The model is waking up; the first sentence takes a few seconds.";
    this.announce(text, isLoading ? waking : "Almost there…");
  }

  /**
   * Says why there are no faces.
   *
   * @param {boolean} isDrawless Whether the browser cannot draw them.
   * @param {boolean} isFilmed Whether films take their place.
   */
  excuse(isDrawless, isFilmed) {
    const cause = "Moving faces need WebGL2, which this browser does not offer or has switched off.";
    if (!isDrawless) this.announce("No faces to show", "The faces could not be loaded; please reload the page.");
    else if (!isFilmed) this.announce("No faces to show", `${cause} Please try another browser.`);
    else this.announce("A film instead of faces", `${cause} Type a sentence: the server makes a film of it for you.`);
  }

  /** Says something about the page as a whole; empty for nothing. */
  notify(text) {
    show(this.notice, text);
  }

  /** Says what is wrong with the address of the page; empty for nothing. */
  complain(text) {
    show(this.complaint, text);
  }
}

function show(node, text) {
  node.textContent = text;
  node.hidden = !text;
}
