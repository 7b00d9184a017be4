/** What the study asks of the server: every request until it is answered, one after the other. */

import { post } from "./server.js";

const FIRST_WAIT = 500, LONGEST_WAIT = 8000; // milliseconds between attempts, doubled every time

/** Raised where the server refuses a request; the message is for the person. */
export class Refusal extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class StudyServer {
  /** @param {(message: string) => void} onwait Told why it takes long; with an empty text when it goes on. */
  constructor(onwait) {
    this.#onwait = onwait;
  }

  #onwait;
  #queue = Promise.resolve();

  /**
   * Asks for a page, or for what an action gives. A request that was lost is sent again: the server stores nothing twice.
   *
   * @param {string} action
   * @param {object} fields
   * @throws {Refusal}
   */
  ask(action, fields = {}) {
    const turn = this.#queue.then(() => this.insist(action, fields));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** The same without waiting for what was asked before: for what changes nothing. */
  async insist(action, fields) {
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        const answer = await this.#send(action, fields);
        this.#onwait("");
        return answer;
      } catch (error) {
        if (error instanceof Refusal && error.status < 500) {
          this.#onwait("");
          throw error;
        }
        this.#onwait(error instanceof Refusal ? error.message : "The server cannot be reached; trying again…");
      }
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  async #send(action, fields) {
    const response = await post(`cteg-study/${action}`, fields);
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refusal(body.error ?? "The server is not ready; trying again…", response.status);
    return body;
  }
}

/** What kind of device this is, as far as it matters for watching clips. */
export function deviceKind() {
  if (!matchMedia("(pointer: coarse)").matches) return "desktop";
  return Math.min(screen.width, screen.height) < 600 ? "phone" : "tablet";
}
