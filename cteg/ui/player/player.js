/**
 * The player: the faces of one sentence side by side, one clock, one camera, a rating under each face.
 *
 * States (`data-state` of the root): starting, empty, busy, growing (the first frames are there), ready, unavailable.
 * Where the browser cannot draw faces, a film takes their place (`data-film`). Tests drive it by `element.cteg`.
 */

import { Captions } from "./captions.js";
import { Clip, neutralClip, strongestFrame } from "./clip.js";
import { Clock } from "./clock.js";
import { Controls, followPointer } from "./controls.js";
import { makeDeck } from "./deck.js";
import { count, element } from "./dom.js";
import { FaceGrid } from "./faces.js";
import { Film } from "./film.js";
import { Heading } from "./heading.js";
import { HeadChooser } from "./heads.js";
import { Maker } from "./maker.js";
import * as memory from "./memory.js";
import { QuestionLine } from "./question.js";
import { Share } from "./share.js";
import { NoWebGL, Stage } from "./stage.js";
import { TakeAway } from "./take.js";

const WAITING_FACES = 4;
const LONG_WAIT = 2000; // milliseconds until the player says more about the wait

/**
 * @typedef {object} Run The component's value: one request, or the beginning of one.
 * @property {string} run Under which the server knows it.
 * @property {boolean} [partial] More of these very clips is on its way.
 * @property {string} text
 * @property {number} seed
 * @property {number} temperature
 * @property {number} guidance
 * @property {string} weights
 * @property {string} space Coefficient space of the clips, which must be the head's.
 * @property {number} fps
 * @property {string[]} [parts] The sentences that are performed one after the other; one, `text`, if missing.
 * @property {string} notice Why ratings are off; empty where they are on.
 * @property {import("./clip.js").ClipData[]} clips
 *
 * @typedef {object} Backend Who serves the player.
 * @property {URL} root Where heads and files are.
 * @property {boolean} makes Whether it performs sentences and makes files; a page of ready clips does neither.
 * @property {() => Promise<{notice?: string, model?: string} | null>} health
 * @property {(rating: object) => Promise<void>} saveRating See `server.js`.
 * @property {(choice: object) => Promise<void>} saveChoice
 * @property {(wish: object) => void} askFile
 */

export class Player {
  /**
   * @param {HTMLElement} root Empty element of the page.
   * @param {import("./heads.js").Head[]} heads What the server offers.
   * @param {string} first Address of the head that is shown first.
   * @param {import("./link.js").Setting[]} settings What a request may set.
   * @param {Backend} backend
   */
  constructor(root, heads, first, settings, backend) {
    this.root = root;
    this.backend = backend;
    const known = memory.recallHead();
    const chosen = heads.find((head) => head.name === known) ?? heads.find((head) => head.url === first);
    this.heads = new HeadChooser(heads, chosen, backend.root, (head) => this.wear(head));
    this.take = new TakeAway((wish) => this.#maker.make(wish));
    const ask = (wish) => backend.askFile({ ...wish, run: this.#run.run, head: this.#worn.name });
    this.#maker = new Maker(ask, (busy) => (this.take.busy = busy), (file) => this.#showFilm(file));
    const result = () => ({ request: this.request, weights: this.#run.weights });
    this.share = new Share(settings, backend.root, result, backend.makes);
    this.clock = new Clock();
    this.captions = new Captions();
    this.deck = makeDeck(this);
    this.controls = new Controls(this.deck);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#build();
    this.#setState("starting");
  }

  #run = null;
  #stage = null;
  #worn = null; // the head that the faces have
  #maker;
  #drawless = false; // this browser cannot draw faces
  #waitTimer = 0;
  #loaded;

  /** Fetches the head and shows the faces that wait. */
  async load() {
    this.#loaded = this.#loadStage();
    await this.#loaded;
    this.#reportHealth();
  }

  /**
   * Shows the clips of a request.
   *
   * @param {Run | null} run
   * @param {Partial<import("./faces.js").Answers>} answers Saved before, where the run is shown again.
   */
  async show(run, answers = {}) {
    const began = performance.now();
    await this.#loaded;
    if (!run || !(this.#stage || (this.#filmed && !run.partial))) return;
    clearTimeout(this.#waitTimer);
    const head = this.heads.offer(run.space);
    if (!head) throw new Error(`a clip of the space ${run.space} needs another head`);
    if (head !== this.#worn) await this.wear(head);
    if (head !== this.#worn) return; // it could not be loaded, or another one was chosen meanwhile
    const clips = run.clips.map((source) => new Clip(source));
    const isSame = run.run === this.#run?.run && this.root.dataset.state === "growing";
    this.#run = run;
    this.#setFaces(clips, answers, isSame);
    this.captions.follow(run, this.faces.firstShown);
    this.take.offer(clips.length, run.space);
    this.share.update();
    this.#setState(run.partial ? "growing" : "ready");
    this.heading.describe(run);
    this.#start(clips, isSame);
    if (this.#drawless) return this.#askFilm();
    this.#stage.refresh();
    this.#stage.draw();
    if (!isSame) this.root.dataset.firstFrame = (performance.now() - began).toFixed(1);
  }

  /**
   * Shows all faces on another head; what plays goes on. Of several heads chosen in a row, the last one counts.
   *
   * @param {import("./heads.js").Head} head
   */
  async wear(head) {
    this.heads.choose(head);
    await this.#loaded;
    if (this.#drawless) return this.#wearInFilm(head);
    if (!this.#stage) return;
    try {
      const rig = await this.heads.rig(head);
      if (this.heads.chosen !== head) return;
      this.#stage.rig = rig;
    } catch (error) {
      console.error(error);
      if (this.heads.chosen !== head) return;
      this.heads.choose(this.#worn);
      this.heading.notify(`${head.title} could not be loaded; please try again.`);
      return;
    }
    this.#setWorn(head);
    memory.rememberHead(head.name);
    this.heading.notify(this.#run?.notice ?? "");
    this.#stage.draw();
  }

  #wearInFilm(head) {
    this.#setWorn(head);
    memory.rememberHead(head.name);
    if (this.root.dataset.state === "ready") this.#askFilm();
  }

  /** Shows again what this tab showed before it was reloaded. */
  async restore() {
    const { run, ...answers } = memory.recallRun();
    try {
      await this.show(run, answers);
    } catch {
      memory.rememberRun(null); // kept by another version of the player
      this.#showIdle();
    }
  }

  /** Shows that a sentence is being performed. */
  begin(text, samples) {
    this.#setState("busy");
    this.#comeIntoView();
    this.heading.announce(text, `Performing it in ${count(samples, "different way")}…`);
    clearTimeout(this.#waitTimer);
    this.#waitTimer = setTimeout(() => this.#reassure(text), LONG_WAIT);
  }

  /** Ends the busy state where no new faces came; the earlier ones stay. */
  end() {
    clearTimeout(this.#waitTimer);
    this.clock.isGrowing = false;
    if (!["busy", "growing"].includes(this.root.dataset.state)) return;
    if (this.#run) {
      this.#setState("ready");
      this.heading.describe(this.#run);
    } else {
      this.#showIdle();
    }
  }

  /** Tells that the faces that came cannot be shown. */
  fail(error) {
    console.error(error);
    this.end();
    this.heading.notify(`These faces cannot be shown: ${error.message}.`);
  }

  /** Hands a file that the server made to the browser; null where it could not be made. */
  taken(file) {
    this.#maker.taken(file);
  }

  /** Where the faces are drawn; null where they cannot be. */
  get stage() {
    return this.#stage;
  }

  /** Whether films take the place of faces. */
  get #filmed() {
    return this.#drawless && this.backend.makes;
  }

  /** Under which the server knows what is shown; empty for nothing. */
  get runId() {
    return this.#run?.run ?? "";
  }

  /** Goes to a frame, stops there and draws it before returning. */
  setFrame(frame) {
    this.clock.pause();
    this.clock.seek(frame);
    this.#stage?.refresh();
    this.#stage?.draw();
  }

  seek(position) {
    this.clock.seek(position);
    this.#stage?.invalidate();
  }

  async #loadStage() {
    try {
      const head = this.heads.chosen;
      const rig = await this.heads.rig(head);
      const listeners = { onframe: () => this.#onFrame(), onlost: (lost) => this.#onLost(lost) };
      this.#stage = new Stage(this.faces.node, rig, this.clock, listeners);
      this.#setWorn(head);
      followPointer(this.faces.node, this.deck);
      this.#showEmpty();
    } catch (error) {
      this.#drawless = error instanceof NoWebGL;
      if (!this.#drawless) console.error(error);
      else this.#setWorn(this.heads.chosen);
      this.#showUnavailable();
    }
  }

  /** Begins to play, or goes on where the clips have only become longer. */
  #start(clips, isSame) {
    const frames = Math.max(...clips.map((clip) => clip.frames));
    this.clock.isGrowing = Boolean(this.#run.partial);
    if (isSame) return this.clock.extend(frames);
    this.clock.reset(frames, this.#run.fps);
    if (this.calm) this.seek(strongestFrame(clips));
    else this.clock.play();
  }

  #build() {
    const { backend } = this;
    const circumstances = () => ({ text: this.question.keeps ? this.#run.text : "", head: this.#worn.name });
    this.heading = new Heading();
    this.faces = new FaceGrid({
      saveRating: (rating) => backend.saveRating({ ...rating, ...circumstances() }),
      saveChoice: (choice) => backend.saveChoice({ ...choice, ...circumstances() }),
      onrated: () => this.#onRated(),
      onfailed: (message) => this.question.regret(message),
      onlayout: () => this.#onLayout(),
    });
    this.film = new Film(this.calm);
    this.question = new QuestionLine(backend.makes);
    const bar = element("div", { class: "progress", "aria-hidden": "true" });
    const top = element("div", { class: "top" }, this.heading.node, this.heads.node);
    this.root.append(this.heading.notice, this.heading.complaint, top, this.question.node, bar, this.film.node);
    this.root.append(this.faces.views, this.faces.node, this.controls.node);
    this.root.append(...(backend.makes ? [this.take.node] : []), this.share.node);
    this.root.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #setFaces(clips, answers = {}, isSame = false) {
    this.faces.fill(clips, answers, isSame);
    this.root.dataset.faces = String(clips.length);
    if (this.#stage) this.#stage.clips = clips;
    this.question.begin(clips.length, this.faces.answered);
    this.#onRated();
  }

  #setWorn(head) {
    this.#worn = head;
    this.root.dataset.head = head.name;
    if (this.#run) this.share.update();
  }

  /** Has the server make a film of what cannot be drawn here; one at a time, so that a later wish waits. */
  #askFilm() {
    this.root.dataset.film = "making";
    this.film.wait();
    this.#maker.film();
  }

  #showFilm(file) {
    this.root.dataset.film = file ? "shown" : "failed";
    const cues = this.captions.cues(this.#run.fps, this.clock.frames);
    this.film.show(file, `${count(this.#run.clips.length, "face")}: ${this.#run.text}`, cues);
  }

  #onRated() {
    const { answers, answered, rated } = this.faces;
    this.root.dataset.rated = String(rated);
    this.question.thank(answered, rated === answers.scores.length);
    if (this.#run && !this.#run.partial) memory.rememberRun(this.#run, answers);
  }

  #onLayout() {
    this.captions.follow(this.#run, this.faces.firstShown);
    this.#stage?.refresh();
  }

  /** What makes the result that is shown, on the head that is shown; null for nothing. */
  get request() {
    if (!this.#run) return null;
    const { text, clips, temperature, seed, guidance = 0 } = this.#run;
    return { text, samples: clips.length, temperature, seed, guidance, head: this.#worn.name };
  }

  async #reportHealth() {
    const report = await this.backend.health();
    if (report?.notice) this.heading.notify(report.notice);
  }

  async #reassure(text) {
    const report = await this.backend.health();
    if (this.root.dataset.state !== "busy") return;
    this.heading.reassure(text, report?.model === "loading");
  }

  /** On a phone the faces lie below the form: they come up where they would hardly be seen. */
  #comeIntoView() {
    const { top } = this.root.getBoundingClientRect();
    if (top > 0.6 * innerHeight) this.root.scrollIntoView({ behavior: this.calm ? "auto" : "smooth", block: "start" });
  }

  #showEmpty() {
    this.#setFaces(Array.from({ length: WAITING_FACES }, neutralClip));
    this.#setState("empty");
    this.heading.invite(this.backend.makes);
    this.clock.reset(1, 25);
    this.#stage.refresh();
  }

  #showUnavailable() {
    this.#setState("unavailable");
    this.heading.excuse(this.#drawless, this.#filmed);
  }

  #showIdle() {
    if (this.#stage) this.#showEmpty();
    else this.#showUnavailable();
  }

  #onLost(lost) {
    this.root.dataset.context = lost ? "lost" : "restored";
    if (lost) this.heading.notify("The graphics of this computer were interrupted; the faces return in a moment.");
    else this.heading.notify(this.#run?.notice ?? "");
  }

  #onFrame() {
    this.controls.update();
    Object.assign(this.root.dataset, {
      frame: String(this.clock.frame),
      frames: String(this.clock.frames),
      playing: String(this.clock.playing),
      speed: String(this.clock.speed),
      drawn: String(this.#stage?.framesDrawn ?? 0),
    });
  }

  #setState(state) {
    this.root.dataset.state = state;
    document.body.classList.toggle("cteg-busy", state === "busy" || state === "growing");
    if (state === "busy") document.body.classList.remove("cteg-taking");
  }

  #onKey(event) {
    if (!this.faces.onKey(event)) this.controls.onKey(event);
  }
}
