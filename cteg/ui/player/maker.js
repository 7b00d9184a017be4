/** Files that the server makes of what is shown, one at a time: those to take away, and the film where nothing can be drawn. */

import { download } from "./take.js";

export class Maker {
  /**
   * @param {(wish: object) => void} ask Asks the server; `taken` is called with the answer.
   * @param {(busy: boolean) => void} onbusy Called when a file begins to be made, and when it is there.
   * @param {(file: {url: string} | null) => void} onfilm Called with the film that was asked for.
   */
  constructor(ask, onbusy, onfilm) {
    this.#ask = ask;
    this.#onbusy = onbusy;
    this.#onfilm = onfilm;
  }

  #ask;
  #onbusy;
  #onfilm;
  #making = null; // "file", or the "film" that is shown, or an "old film" that is not wanted any more

  /** Asks for a file to take away. */
  make(wish) {
    this.#start(wish, "file");
  }

  /** Asks for a film of all faces; while another file is made, it waits for that one. */
  film() {
    if (this.#making) this.#making = "old film";
    else this.#start({ kind: "mp4", face: null }, "film");
  }

  /** Hands a file that the server made to the browser; null where it could not be made. */
  taken(file) {
    const made = this.#making;
    this.#making = null;
    this.#onbusy(false);
    document.body.classList.toggle("cteg-taking", Boolean(file) && made === "file");
    if (made === "old film") this.film();
    else if (made === "film") this.#onfilm(file);
    else if (file) download(file);
  }

  #start(wish, making) {
    this.#making = making;
    this.#onbusy(true);
    document.body.classList.add("cteg-taking");
    this.#ask(wish);
  }
}
