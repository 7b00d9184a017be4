/** What the browser remembers between visits and reloads; where it refuses to, the page works without. */

const RATER = "cteg.rater";
const KEEP = "cteg.keep-sentence";
const CAPTIONS = "cteg.captions";
const LAST_RUN = "cteg.last-run";
const HEAD = "cteg.head";
export const COUNT = "cteg.ratings";
const LINK = "cteg.link";

/** A random id of 32 hexadecimal digits. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

let unsavedRater = null; // for browsers that refuse to remember anything

/** The random id under which this browser rates. */
export function raterId() {
  try {
    const known = localStorage.getItem(RATER);
    if (/^[0-9a-f]{32}$/.test(known ?? "")) return known;
    const fresh = randomId();
    localStorage.setItem(RATER, fresh);
    return fresh;
  } catch {
    return (unsavedRater ??= randomId());
  }
}

let unsavedCount = 0;

/** Adds to the number of ratings that stand from this browser, and returns it. */
export function countRatings(more) {
  try {
    unsavedCount = Math.max(0, (Number(localStorage.getItem(COUNT)) || 0) + more);
    if (more) localStorage.setItem(COUNT, String(unsavedCount));
  } catch {
    unsavedCount = Math.max(0, unsavedCount + more);
  }
  return unsavedCount;
}

/** Whether the person agreed to keep sentences with their ratings. */
export function keepsSentence() {
  try {
    return localStorage.getItem(KEEP) === "yes";
  } catch {
    return false;
  }
}

export function rememberKeepsSentence(keep) {
  try {
    localStorage.setItem(KEEP, keep ? "yes" : "no");
  } catch {
    // nothing is remembered then; the tick still holds for this page
  }
}

/** Whether captions were asked for; null where nobody said. */
export function wantsCaptions() {
  try {
    const known = localStorage.getItem(CAPTIONS);
    return known && known === "yes";
  } catch {
    return unsavedCaptions;
  }
}

let unsavedCaptions = null;

export function rememberCaptions(wanted) {
  try {
    localStorage.setItem(CAPTIONS, wanted ? "yes" : "no");
  } catch {
    unsavedCaptions = wanted;
  }
}

/**
 * Keeps the faces of this tab, with what was answered about them, for a reload.
 *
 * @param {object | null} run The request that is shown; null forgets it.
 * @param {Partial<import("./faces.js").Answers>} answers
 */
export function rememberRun(run, answers = {}) {
  try {
    if (run) sessionStorage.setItem(LAST_RUN, JSON.stringify({ run, ...answers }));
    else sessionStorage.removeItem(LAST_RUN);
  } catch {
    // a reload starts empty then
  }
}

/** What `rememberRun` kept; `run` is null where there is nothing. */
export function recallRun() {
  try {
    return JSON.parse(sessionStorage.getItem(LAST_RUN)) ?? { run: null };
  } catch {
    return { run: null };
  }
}

/** The name of the head that was chosen in this tab, or null. */
export function recallHead() {
  try {
    return sessionStorage.getItem(HEAD);
  } catch {
    return null;
  }
}

export function rememberHead(name) {
  try {
    sessionStorage.setItem(HEAD, name);
  } catch {
    // a reload shows the first head then
  }
}

/** Whether this tab has done what its address asks for. */
export function isFollowed(search) {
  try {
    return sessionStorage.getItem(LINK) === search;
  } catch {
    return false;
  }
}

export function rememberFollowed(search) {
  try {
    sessionStorage.setItem(LINK, search);
  } catch {
    // a reload generates again then
  }
}
