/**
 * The blind study: one page after the other, as the server says. It knows no conditions, and decides nothing.
 *
 * States (`data-state` of the root): starting, consent, ready (a page with clips), thanks, deleted, unavailable.
 */

import { count, element, icon } from "./dom.js";
import { appRoot } from "./server.js";
import { Questions } from "./study_questions.js";
import { deviceKind, Refusal, StudyServer } from "./study_server.js";
import { SIDE_NAMES, StudyViewer } from "./study_viewer.js";

const STEPS = {
  practice: "Practice",
  pair: "Compare two faces",
  set: "Compare two sets of faces",
  single: "Judge one face",
};

export class Study {
  /** @param {HTMLElement} root Empty element of the page. */
  constructor(root) {
    this.root = root;
    this.server = new StudyServer((message) => this.#notify(message));
    this.viewer = new StudyViewer(() => this.#onPlaying());
    this.questions = new Questions((question, value) => this.#act("answer", { question, value }));
    this.#build();
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => this.#tell(document.hidden ? "hidden" : "visible"));
    this.#setState("starting");
  }

  #page = null;
  #run = 0; // counts what was started, so that something that was overtaken stops

  /** Fetches the head and the page that this rater is at. */
  async load(headUrl) {
    try {
      await this.viewer.load(new URL(headUrl, appRoot()));
    } catch (error) {
      console.error(error);
      this.#setState("unavailable");
      this.headline.textContent = "The study cannot be shown";
      this.text.replaceChildren("It needs WebGL2, which this browser does not offer, or the faces could not be loaded.");
      return;
    }
    await this.#refetch();
  }

  // -- pages -----------------------------------------------------------------------------------------------------------

  async #refetch(note = "") {
    await this.#show(await this.server.ask("page"));
    this.#notify(note);
  }

  /** Shows a page; one with clips only when all of them are there. */
  async #show(page) {
    const isNew = page.token !== this.#page?.token || page.step !== this.#page?.step;
    this.#page = page;
    if (page.step === "consent" || page.step === "thanks") return this.#showText(page);
    if (isNew) {
      const run = ++this.#run;
      this.root.dataset.loaded = "false";
      const fetched = page.sides.flat().map((clip) => this.server.insist("clip", { token: page.token, clip }));
      const clips = await Promise.all(fetched);
      if (run !== this.#run) return;
      this.#setState("ready");
      this.headline.textContent = page.sentence;
      this.viewer.show(page.sides.map((side) => side.map((clip) => clips[clip])));
      this.#fillReplays(page);
      this.root.dataset.loaded = "true";
      this.headline.focus({ preventScroll: true });
    }
    this.#update();
  }

  #showText(page) {
    this.#run++;
    this.viewer.stop();
    this.#setState(page.step);
    const isConsent = page.step === "consent";
    this.headline.textContent = isConsent ? "Take part in a short study" : "Thank you";
    const paragraphs = [...page.sentence.trim().split(/\n\s*\n/), page.instruction].filter(Boolean);
    this.text.replaceChildren(...paragraphs.map((text) => element("p", { text })));
    const agree = () => this.#act("consent", { version: page.version, device: deviceKind() }, false);
    const begin = element("button", { type: "button", class: "big", text: "I agree, and I am 18 or older", onclick: agree });
    if (isConsent) this.text.append(begin);
    this.#update();
  }

  /** Shows what may change on a page while it stays. */
  #update() {
    const page = this.#page;
    const unwatched = new Set(page.unwatched);
    const share = page.total ? (100 * page.done) / page.total : 0;
    this.bar.style.setProperty("--share", `${share}%`);
    this.bar.setAttribute("aria-valuenow", String(page.done));
    this.bar.setAttribute("aria-valuemax", String(page.total || 1));
    this.place.textContent = page.sides.length ? `${STEPS[page.step]} · ${page.done + 1} of ${page.total}` : "";
    this.told.textContent = page.sides.length ? page.instruction : "";
    this.told.hidden = !this.told.textContent;
    this.questions.show(page.questions, unwatched.size === 0);
    this.watch.hidden = unwatched.size === 0;
    this.next.disabled = !page.complete;
    page.sides.forEach((side, index) => {
      const seen = side.every((clip) => !unwatched.has(clip));
      this.replays.children[index]?.classList.toggle("seen", seen);
    });
    this.erase.hidden = page.step === "consent";
  }

  // -- playing ---------------------------------------------------------------------------------------------------------

  /** Plays sides one after the other; the server learns of the beginning before it, of the end after it. */
  async #play(sides) {
    const page = this.#page;
    if (this.root.dataset.loaded !== "true") return;
    const run = ++this.#run;
    const report = (kind, side) => {
      const events = page.sides[side].map((clip) => ({ kind, clip }));
      return this.#act("report", { events });
    };
    for (const side of sides) {
      await report("play", side);
      if (run !== this.#run) return;
      const isWhole = await this.viewer.play(side);
      if (run !== this.#run) return;
      if (!isWhole) break;
      await report("ended", side);
      if (run !== this.#run) return;
    }
  }

  #toggle() {
    if (this.viewer.playing !== null) this.viewer.stop();
    else this.#play(this.#page.sides.map((_, index) => index));
  }

  #onPlaying() {
    if (!this.play) return;
    const isOn = this.viewer.playing !== null;
    this.root.dataset.playing = isOn ? String(this.viewer.playing) : "";
    const sides = this.#page?.sides.length ?? 0;
    const label = isOn ? "Stop" : sides > 1 ? "Play left, then right" : "Play";
    this.play.replaceChildren(icon(isOn ? "pause" : "play"), element("span", { text: label }));
  }

  #fillReplays(page) {
    this.#onPlaying();
    const names = page.sides.length > 1 ? SIDE_NAMES : ["Again"];
    const buttons = page.sides.map((_, index) => {
      const label = element("span", { text: names[index] });
      const onclick = () => this.#play([index]);
      return element("button", { type: "button", class: "replay", title: `Play (${names[index]})`, onclick }, icon("play"), label);
    });
    this.replays.replaceChildren(...buttons);
    this.replays.hidden = page.sides.length < 2;
  }

  // -- what people do --------------------------------------------------------------------------------------------------

  /** Does something on the present page and shows what the server makes of it. */
  async #act(action, fields = {}, hasToken = true) {
    const token = hasToken ? { token: this.#page.token } : {};
    try {
      await this.#show(await this.server.ask(action, { ...token, ...fields }));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      await this.#refetch(error.message);
    }
  }

  #tell(kind) {
    if (this.root.dataset.state === "ready") this.#act("report", { events: [{ kind }] });
  }

  async #goOn() {
    if (this.next.disabled) return;
    this.next.disabled = true; // until the server has answered
    this.viewer.stop();
    await this.#act("next");
  }

  async #forget() {
    if (!this.sure) {
      this.sure = true;
      this.erase.textContent = "Really delete everything that was stored from this browser, your ratings of own sentences included?";
      return;
    }
    const { deleted } = await this.server.ask("forget");
    this.#run++;
    this.viewer.stop();
    this.sure = false;
    this.#page = null;
    this.#setState("deleted");
    this.headline.textContent = "Deleted";
    this.text.replaceChildren(element("p", { text: `${count(deleted, "answer")} deleted; nothing is left of you here.` }));
    this.erase.hidden = true;
  }

  #onKey(event) {
    if (this.root.dataset.state !== "ready" || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === " " && !target.matches("button, a, input:not(:checked)")) {
      event.preventDefault();
      this.#toggle();
    } else if (event.key === "Enter" && !target.matches("button, a")) {
      this.#goOn();
    } else if (/^[1-5]$/.test(event.key)) {
      this.questions.chooseByNumber(Number(event.key));
    } else if (event.key === "l" || event.key === "r") {
      const side = event.key === "l" ? 0 : 1;
      if (side < this.#page.sides.length) this.#play([side]);
    }
  }

  // -- the page --------------------------------------------------------------------------------------------------------

  #build() {
    this.bar = element("div", { class: "steps", role: "progressbar", "aria-label": "Pages answered" });
    this.bar.setAttribute("aria-valuemin", "0");
    this.place = element("p", { class: "place" });
    this.notice = element("p", { class: "notice", role: "status", hidden: true });
    this.headline = element("h1", { class: "sentence", tabIndex: -1 });
    this.told = element("p", { class: "told", role: "status", hidden: true });
    this.text = element("div", { class: "text" });
    this.play = element("button", { type: "button", class: "big play", onclick: () => this.#toggle() });
    this.replays = element("div", { class: "replays" });
    const deck = element("div", { class: "deck" }, this.play, this.replays);
    this.watch = element("p", { class: "watch", text: "Watch everything to its end; then you can answer." });
    this.next = element("button", { type: "button", class: "big next", text: "Next", onclick: () => this.#goOn() });
    const trouble = () => this.#act("report", { events: [{ kind: "trouble" }] });
    const broken = element("button", { type: "button", class: "link", text: "The faces do not play here", onclick: trouble });
    const keys = element("p", { class: "keys" });
    keys.append("Keys: space plays, L and R play one side, numbers answer, Enter goes on. ", broken);
    const trial = element("div", { class: "trial" }, this.told, this.viewer.node, deck, this.watch);
    trial.append(this.questions.node, this.next, keys);
    this.erase = element("button", { type: "button", class: "link erase", hidden: true, onclick: () => this.#forget() });
    this.root.append(this.bar, this.place, this.notice, this.headline, this.text, trial, this.erase);
  }

  #notify(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  #setState(state) {
    this.root.dataset.state = state;
    this.sure = false;
    this.erase.textContent = "Delete my answers";
  }
}

/**
 * Starts the study in a `gr.HTML` component.
 *
 * @param {HTMLElement} host The component's element.
 * @param {{first_head: string}} props The component's properties.
 */
export async function mount(host, props) {
  document.title = "CTEG: a study";
  const study = new Study(host.querySelector(".cteg-study"));
  host.study = study;
  await study.load(props.first_head);
}
