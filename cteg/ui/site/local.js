/** Ratings that stay in this browser until a person downloads or deletes them. */

import { raterId } from "./memory.js";

const KEY = "cteg.site-ratings";
const REFUSED = "Not saved: this browser keeps nothing for this page.";
const COLUMNS = [
  "rater", "created", "text", "score", "best", "head", "weights", "seed", "temperature", "guidance", "run", "sample",
  "frames", "app_version",
];

/**
 * @typedef {object} Answer What a person said of one face, with what made it; named like the columns of the study.
 * @property {number | null} score
 * @property {boolean} best
 */

export class LocalRatings {
  /**
   * @param {string} version Of CTEG.
   * @param {() => void} onchange
   */
  constructor(version, onchange) {
    this.#version = version;
    this.#onchange = onchange;
  }

  #version;
  #onchange;
  #faces = new Map(); // what made a face, by its token

  /** Learns which faces there are. @param {import("./player.js").Run} run */
  meet(run) {
    const { text, weights, temperature, guidance } = run;
    run.clips.forEach(({ token, seed, frames }, sample) => {
      this.#faces.set(token, { text, weights, seed, temperature, guidance, run: run.run, sample, frames });
    });
  }

  /** What was answered about the faces of a run. @returns {import("./faces.js").Answers} */
  answers(run) {
    const known = read();
    const found = run.clips.map(({ token }) => known[token]);
    const best = found.findIndex((answer) => answer?.best);
    return { scores: found.map((answer) => answer?.score ?? null), best: best < 0 ? null : best };
  }

  /** How many scores and choices there are. */
  get count() {
    return Object.values(read()).reduce((sum, { score, best }) => sum + (score !== null) + best, 0);
  }

  async saveRating({ token, score, head }) {
    this.#save(token, { score, head });
  }

  /** Stores that a face is the best of its run, or not after all; no other one is then. */
  async saveChoice({ token, isBest, head }) {
    const { run } = this.#faces.get(token);
    this.#save(token, { best: isBest, head }, (other) => other.run === run);
  }

  #save(token, change, losesBest = () => false) {
    const all = read();
    for (const answer of Object.values(all)) if (losesBest(answer)) answer.best = false;
    const fresh = { ...this.#faces.get(token), rater: raterId(), score: null, best: false, app_version: this.#version };
    all[token] = { ...(all[token] ?? fresh), ...change, created: new Date().toISOString() };
    const stands = Object.entries(all).filter(([, { score, best }]) => score !== null || best);
    write(Object.fromEntries(stands));
    this.#onchange();
  }

  /** Deletes all answers. */
  forget() {
    write({});
    this.#onchange();
  }

  /** All answers as a table. */
  csv() {
    const rows = Object.values(read()).map((answer) => COLUMNS.map((column) => cell(answer[column])).join(","));
    return [COLUMNS.join(","), ...rows, ""].join("\r\n");
  }
}

/** One cell; what a spreadsheet would run as a formula gets an apostrophe in front. */
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @returns {Record<string, Answer & Record<string, any>>} */
function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

function write(answers) {
  try {
    localStorage.setItem(KEY, JSON.stringify(answers));
  } catch {
    throw new Error(REFUSED);
  }
}
