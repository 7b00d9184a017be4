/** The row of portraits from which the head of all faces is chosen. */

import { element } from "./dom.js";
import { Rig } from "./rig.js";

/**
 * @typedef {object} Head One head that the server offers.
 * @property {string} name Stored with ratings.
 * @property {string} title Name for people.
 * @property {string} space Coefficient space of the clips that it can perform.
 * @property {string} url Where its rig is, relative to the app's root.
 * @property {string} portrait Where its picture is.
 */

export class HeadChooser {
  /**
   * @param {Head[]} heads In the order of the row.
   * @param {Head} chosen
   * @param {URL} root The app's root.
   * @param {(head: Head) => void} onchoose Called when a person chooses another head.
   */
  constructor(heads, chosen, root, onchoose) {
    this.#heads = heads;
    this.#root = root;
    this.#title = element("span", { class: "title", "aria-hidden": "true" });
    this.#row = element("div", { class: "row" });
    this.#options = heads.map((head) => this.#makeOption(head, onchoose));
    this.#row.append(...this.#options);
    this.node = element("div", { class: "heads", role: "radiogroup", "aria-label": "Head" }, this.#title, this.#row);
    this.offer(chosen.space);
    this.choose(chosen);
  }

  #heads;
  #root;
  #title;
  #row;
  #options;
  #rigs = new Map();

  /** The names of all heads. */
  get names() {
    return this.#heads.map((head) => head.name);
  }

  /** The head of a name. */
  named(name) {
    return this.#heads.find((head) => head.name === name);
  }

  /** Marks a head as chosen. */
  choose(head) {
    this.chosen = head;
    this.#title.textContent = head.title;
    const option = this.#options[this.#heads.indexOf(head)];
    /** @type {HTMLInputElement} */ (option.querySelector("input")).checked = true;
  }

  /**
   * Offers only the heads that can perform clips of a space, if there are any.
   *
   * @returns {Head | undefined} The chosen head if it can, else the first that can.
   */
  offer(space) {
    const able = this.#heads.filter((head) => head.space === space);
    if (!able.length) return undefined;
    this.#heads.forEach((head, index) => (this.#options[index].hidden = !able.includes(head)));
    this.node.hidden = able.length < 2;
    return able.includes(this.chosen) ? this.chosen : able[0];
  }

  /** Fetches the geometry of a head, once. */
  rig(head) {
    if (!this.#rigs.has(head)) {
      const rig = fetchRig(new URL(head.url, this.#root));
      rig.catch(() => this.#rigs.delete(head)); // the next choice tries again
      this.#rigs.set(head, rig);
    }
    return this.#rigs.get(head);
  }

  #makeOption(head, onchoose) {
    const choice = element("input", { type: "radio", name: "cteg-head", value: head.name, "aria-label": head.title });
    choice.addEventListener("change", () => onchoose(head));
    const picture = element("img", { src: new URL(head.portrait, this.#root).href, alt: "", width: 128, height: 128 });
    return element("label", { class: "head", title: head.title }, choice, picture);
  }
}

async function fetchRig(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the head did not arrive (${response.status})`);
  return new Rig(await response.arrayBuffer());
}
