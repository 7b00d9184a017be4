/** The player as a component of the app's page, and what the page's address asks of it. */

import { complain, readLink } from "./link.js";
import * as memory from "./memory.js";
import { Player } from "./player.js";
import * as server from "./server.js";

/** Does what the address of the page asks for, once; a reload shows what was shown last. */
class Follower {
  /**
   * @param {Player} player
   * @param {import("./link.js").Setting[]} settings
   */
  constructor(player, settings) {
    this.#player = player;
    this.#settings = settings;
  }

  #player;
  #settings;
  #link = null; // what the address asks for, until it is done

  /**
   * Fills the form: from the address where it asks for something, else as what is shown again was made.
   *
   * @param {any[]} form Sentence and settings as they are.
   * @returns {any[]} The same as they should be.
   */
  read(form) {
    const { heads, request } = this.#player;
    const isNew = !memory.isFollowed(location.search);
    this.#link = isNew ? readLink(location.search, this.#settings, heads.names) : null;
    const wanted = this.#link?.request ?? request ?? {};
    return ["text", ...this.#settings.map(({ name }) => name)].map((name, index) => wanted[name] ?? form[index]);
  }

  /** Does what `read` found. */
  follow() {
    if (!this.#link) return;
    const { request, wrong } = this.#link;
    memory.rememberFollowed(location.search);
    this.#player.heading.complain(wrong.length ? complain(wrong) : "");
    if (request.head) this.#player.wear(this.#player.heads.named(request.head));
    if (request.text) document.querySelector("#cteg-generate").click();
  }

  /** Forgets what the address asked for: a sentence is being performed. */
  leave() {
    if (!this.#link?.wrong.length) this.#player.heading.complain("");
    this.#link = null;
  }
}

/**
 * Starts the player in a `gr.HTML` component.
 *
 * @param {HTMLElement} host The component's element.
 * @param {{value: import("./player.js").Run | null, heads: import("./heads.js").Head[], first_head: string,
 *   settings: import("./link.js").Setting[]}} props The component's properties.
 * @param {(name: string, callback: () => void) => void} watch Calls back when the server sends another value.
 * @param {(event: string, data: object) => void} trigger Raises an event of the component.
 */
export async function mount(host, props, watch, trigger) {
  const backend = {
    root: server.appRoot(),
    makes: true,
    health: server.health,
    saveRating: server.saveRating,
    saveChoice: server.saveChoice,
    askFile: (wish) => trigger("submit", wish),
  };
  const player = new Player(host.querySelector(".cteg-player"), props.heads, props.first_head, props.settings, backend);
  const follower = new Follower(player, props.settings);
  host.cteg = player;
  watch("value", () => player.show(props.value).catch((error) => player.fail(error)));
  await player.load();
  await player.restore();
  setTimeout(() => trigger("select", {})); // the page asks for the link now
  return {
    begin: (text, samples) => {
      follower.leave();
      player.begin(text, samples);
    },
    end: () => player.end(),
    taken: (file) => player.taken(file),
    run: () => player.runId,
    readLink: (form) => follower.read(form),
    followLink: () => follower.follow(),
    raterId: memory.raterId,
  };
}
