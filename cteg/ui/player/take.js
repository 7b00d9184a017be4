/** The bar under the controls from which files are taken away. */

import { count, element } from "./dom.js";

const OF_ONE = { glb: "GLB", npz: "NPZ", csv: "ARKit CSV", mp4: "MP4", gif: "GIF", png: "PNG" };
const OF_ALL = { mp4: "MP4", gif: "GIF", png: "PNG", zip: "ZIP" };
const MEANING = {
  glb: "a moving head for Blender, three.js and game engines",
  npz: "the coefficients, for Python",
  csv: "ARKit shapes, as Live Link Face writes them",
  mp4: "a film",
  gif: "a film that loops",
  png: "a sheet of pictures",
  zip: "every face as GLB, NPZ and CSV, with a film and a sheet of all",
};

/**
 * @typedef {object} Wish What should be made.
 * @property {string} kind Ending of the file.
 * @property {number | null} face Index of the face, null for all together.
 */

export class TakeAway {
  /** @param {(wish: Wish) => void} onwish Called when a button is pressed. */
  constructor(onwish) {
    this.#onwish = onwish;
    this.#face = element("select", { "aria-label": "Which face to take away" });
    this.#one = this.#group("One face", OF_ONE, () => Number(this.#face.value));
    this.#one.prepend(this.#face);
    this.#all = this.#group("All faces together", OF_ALL, () => null);
    this.#all.prepend((this.#howMany = element("span")));
    const title = element("strong", { text: "Take away" });
    this.node = element("div", { class: "bar take", role: "group", "aria-label": "Take away" }, title, this.#one, this.#all);
  }

  #onwish;
  #face;
  #one;
  #all;
  #howMany;

  /** Offers the files of a run. */
  offer(faces, space) {
    const names = Array.from({ length: faces }, (_, index) => `Face ${index + 1}`);
    this.#face.replaceChildren(...names.map((text, value) => element("option", { value: String(value), text })));
    this.#howMany.textContent = `All ${count(faces, "face")}`;
    this.#all.hidden = faces < 2;
    this.#one.querySelector("[data-kind=csv]").hidden = space !== "open"; // others have no ARKit shapes
  }

  /** Shows whether a file is being made; one at a time. */
  set busy(busy) {
    this.node.setAttribute("aria-busy", String(busy));
    for (const button of this.node.querySelectorAll("button")) button.disabled = busy;
  }

  #group(label, kinds, face) {
    const buttons = Object.entries(kinds).map(([kind, text]) => {
      const button = element("button", { type: "button", text, title: `${text}: ${MEANING[kind]}` });
      button.dataset.kind = kind;
      button.addEventListener("click", () => this.#onwish({ kind, face: face() }));
      return button;
    });
    return element("span", { class: "kinds", role: "group", "aria-label": label }, ...buttons);
  }
}

/** Hands a finished file of the server to the browser, under its own name. */
export function download(file) {
  const link = element("a", { href: file.url, download: file.orig_name });
  document.body.append(link);
  link.click();
  link.remove();
}
