/** What the player asks of the server. */

import { raterId } from "./memory.js";

const PATIENCE = 10_000; // milliseconds until a request counts as lost

/** The address of the app, with a slash at its end; right behind a proxy that serves it under a path, too. */
export function appRoot() {
  const root = window.gradio_config?.root;
  const path = root ? new URL(root, location.href).pathname : new URL(document.baseURI).pathname;
  return new URL(path.endsWith("/") ? path : `${path}/`, location.origin);
}

/**
 * Stores one rating.
 *
 * @param {{token: string, score: number | null, id: string, text: string, head: string}} rating `text` is empty unless
 * it may be kept; `head` is the name of the head that is shown.
 * @throws {Error} With one sentence for the person; the rating counts as not saved.
 */
export async function saveRating({ token, score, id, text, head }) {
  const stored = await vote("rate", { token, score, id, text, head });
  if (stored.score !== score) throw new Error("Not saved.");
}

/**
 * Stores that a face is the best of its result, or not after all.
 *
 * @param {{token: string, isBest: boolean, id: string, text: string, head: string}} choice See `saveRating`.
 * @throws {Error} With one sentence for the person; the choice counts as not saved.
 */
export async function saveChoice({ token, isBest, id, text, head }) {
  const stored = await vote("choose", { token, is_best: isBest, id, text, head });
  if (stored.is_best !== isBest) throw new Error("Not saved.");
}

/** Sends a vote and returns what the server says it stored. */
async function vote(action, fields) {
  let response, body;
  try {
    response = await post(`cteg-vote/${action}`, fields);
    body = await response.json();
  } catch {
    throw new Error("Not saved: the server cannot be reached.");
  }
  if (!response.ok) throw new Error(body.error ?? "Not saved.");
  return body;
}

/** Asks one of the app's routes for something, in the name of this browser. @returns {Promise<Response>} */
export function post(path, fields) {
  return fetch(new URL(path, appRoot()), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ rater: raterId(), ...fields }),
    signal: AbortSignal.timeout(PATIENCE),
  });
}

/** The state of the app, or null if the server does not answer. */
export async function health() {
  try {
    return await (await fetch(new URL("health", appRoot()))).json();
  } catch {
    return null;
  }
}
