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
import { count, element } from "./dom.js";
import { FaceGrid } from "./faces.js";
import { Film } from "./film.js";
import { HeadChooser } from "./heads.js";
import { complain, readLink } from "./link.js";
import { QuestionLine } from "./question.js";
import * as server from "./server.js";
import { Share } from "./share.js";
import { NoWebGL, Stage } from "./stage.js";
import { TakeAway, download } from "./take.js";

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
 */

export class Player {
  /**
   * @param {HTMLElement} root Empty element of the page.
   * @param {import("./heads.js").Head[]} heads What the server offers.
   * @param {string} first Address of the head that is shown first.
   * @param {import("./link.js").Setting[]} settings What a request may set.
   * @param {(wish: object) => void} ontake Asks the server for a file.
   */
  constructor(root, heads, first, settings, ontake) {
    this.root = root;
    this.#settings = settings;
    const known = server.recallHead();
    const chosen = heads.find((head) => head.name === known) ?? heads.find((head) => head.url === first);
    this.heads = new HeadChooser(heads, chosen, server.appRoot(), (head) => this.wear(head));
    this.take = new TakeAway((wish) => this.#take(wish));
    const result = () => ({ request: this.#request(), weights: this.#run.weights });
    this.share = new Share(settings, server.appRoot(), result);
    this.clock = new Clock();
    this.captions = new Captions();
    this.controls = new Controls(this.#deck());
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#askFile = ontake;
    this.#build();
    this.#setState("starting");
  }

  #settings;
  #link = null; // what the address of the page asks for, until it is done
  #run = null;
  #stage = null;
  #worn = null; // the head that the faces have
  #askFile;
  #making = null; // what the server makes: "file", or the "film" that is shown, or an "old film" that is not wanted
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
    if (!run || !(this.#stage || (this.#drawless && !run.partial))) return;
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
    this.#describe(run);
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
      this.#notify(`${head.title} could not be loaded; please try again.`);
      return;
    }
    this.#setWorn(head);
    server.rememberHead(head.name);
    this.#notify(this.#run?.notice ?? "");
    this.#stage.draw();
  }

  #wearInFilm(head) {
    this.#setWorn(head);
    server.rememberHead(head.name);
    if (this.root.dataset.state === "ready") this.#askFilm();
  }

  /** Shows again what this tab showed before it was reloaded. */
  async restore() {
    const { run, ...answers } = server.recallRun();
    try {
      await this.show(run, answers);
    } catch {
      server.rememberRun(null); // kept by another version of the player
      this.#showIdle();
    }
  }

  /**
   * Fills the form: from the address of the page where it asks for something, else as what is shown again was made.
   *
   * @param {any[]} form Sentence and settings as they are.
   * @returns {any[]} The same as they should be.
   */
  readLink(form) {
    const heads = this.heads.names;
    this.#link = server.isFollowed(location.search) ? null : readLink(location.search, this.#settings, heads);
    const wanted = this.#link?.request ?? (this.#run && this.#request()) ?? {};
    return ["text", ...this.#settings.map(({ name }) => name)].map((name, index) => wanted[name] ?? form[index]);
  }

  /** Does what the address of the page asks for, once; a reload shows what was shown last. */
  followLink() {
    if (!this.#link) return;
    const { request, wrong } = this.#link;
    server.rememberFollowed(location.search);
    this.complaint.textContent = complain(wrong);
    this.complaint.hidden = !wrong.length;
    if (request.head) this.wear(this.heads.named(request.head));
    if (request.text) document.querySelector("#cteg-generate").click();
  }

  /** Shows that a sentence is being performed. */
  begin(text, samples) {
    this.complaint.hidden = !this.#link?.wrong.length;
    this.#link = null;
    this.#setState("busy");
    this.#comeIntoView();
    this.#announce(text, `Performing it in ${count(samples, "different way")}…`);
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
      this.#describe(this.#run);
    } else {
      this.#showIdle();
    }
  }

  /** Tells that the faces that came cannot be shown. */
  fail(error) {
    console.error(error);
    this.end();
    this.#notify(`These faces cannot be shown: ${error.message}.`);
  }

  /** Hands a file that the server made to the browser; null where it could not be made. */
  taken(file) {
    const made = this.#making;
    this.#making = null;
    this.take.busy = false;
    document.body.classList.toggle("cteg-taking", Boolean(file) && made === "file");
    if (made === "old film") this.#askFilm();
    else if (made === "film") this.#showFilm(file);
    else if (file) download(file);
  }

  /** Where the faces are drawn; null where they cannot be. */
  get stage() {
    return this.#stage;
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
      followPointer(this.faces.node, this.#deck());
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
    this.notice = element("p", { class: "notice", role: "status", hidden: true });
    this.complaint = element("p", { class: "notice", role: "status", hidden: true });
    this.headline = element("p", { class: "sentence" });
    this.detail = element("p", { class: "detail" });
    this.faces = new FaceGrid({
      circumstances: () => ({ text: this.question.keeps ? this.#run.text : "", head: this.#worn.name }),
      onrated: () => this.#onRated(),
      onfailed: (message) => this.question.regret(message),
      onlayout: () => this.#onLayout(),
    });
    this.film = new Film(this.calm);
    this.question = new QuestionLine();
    const heading = element("div", { class: "heading", role: "status" }, this.headline, this.detail);
    const bar = element("div", { class: "progress", "aria-hidden": "true" });
    const top = element("div", { class: "top" }, heading, this.heads.node);
    this.root.append(this.notice, this.complaint, top, this.question.node, bar, this.film.node);
    this.root.append(this.faces.views, this.faces.node, this.controls.node, this.take.node, this.share.node);
    this.root.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @returns {import("./controls.js").Deck} */
  #deck() {
    const camera = (change) => {
      if (!this.#stage) return;
      change(this.#stage.camera);
      this.#stage.invalidate();
    };
    return {
      clock: this.clock,
      toggle: () => this.#toggle(),
      seek: (position) => this.seek(position),
      step: (direction) => {
        this.clock.step(direction);
        this.#stage?.invalidate();
      },
      orbit: (yaw, pitch) => camera((view) => view.orbit(yaw, pitch)),
      zoom: (factor) => camera((view) => view.scale(factor)),
      resetView: () => camera((view) => view.reset()),
      leaveEnlarged: () => this.faces.show([]),
      changed: () => this.#stage?.invalidate(),
      captions: this.captions,
    };
  }

  #toggle() {
    if (this.clock.playing) this.clock.pause();
    else this.clock.play();
    this.#stage?.refresh();
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

  #take(wish, making = "file") {
    this.#making = making;
    this.take.busy = true;
    document.body.classList.add("cteg-taking");
    this.#askFile({ ...wish, run: this.#run.run, head: this.#worn.name });
  }

  /** Has the server make a film of what cannot be drawn here; one at a time, so that a later wish waits. */
  #askFilm() {
    this.root.dataset.film = "making";
    this.film.wait();
    if (this.#making) this.#making = "old film";
    else this.#take({ kind: "mp4", face: null }, "film");
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
    if (this.#run && !this.#run.partial) server.rememberRun(this.#run, answers);
  }

  #onLayout() {
    this.captions.follow(this.#run, this.faces.firstShown);
    this.#stage?.refresh();
  }

  /** What makes the result that is shown, on the head that is shown. */
  #request() {
    const { text, clips, temperature, seed, guidance = 0 } = this.#run;
    return { text, samples: clips.length, temperature, seed, guidance, head: this.#worn.name };
  }

  #describe(run) {
    const clarity = run.guidance ? ` · clarity ${run.guidance}` : "";
    this.#announce(run.text, `seed ${run.seed} · temperature ${run.temperature}${clarity} · ${run.weights}`);
    this.#notify(run.notice);
  }

  #announce(sentence, detail) {
    this.headline.textContent = sentence;
    this.detail.textContent = detail;
  }

  #notify(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  async #reportHealth() {
    const report = await server.health();
    if (report?.notice) this.#notify(report.notice);
  }

  async #reassure(text) {
    const report = await server.health();
    if (this.root.dataset.state !== "busy") return;
    const loading = report?.model === "loading";
    this.#announce(text, loading ? "The model is waking up; the first sentence takes a few seconds." : "Almost there…");
  }

  /** On a phone the faces lie below the form: they come up where they would hardly be seen. */
  #comeIntoView() {
    const { top } = this.root.getBoundingClientRect();
    if (top > 0.6 * innerHeight) this.root.scrollIntoView({ behavior: this.calm ? "auto" : "smooth", block: "start" });
  }

  #showEmpty() {
    this.#setFaces(Array.from({ length: WAITING_FACES }, neutralClip));
    this.#setState("empty");
    this.#announce("Four faces are waiting for your sentence.", "Type one above, or pick a feeling to start from.");
    this.clock.reset(1, 25);
    this.#stage.refresh();
  }

  #showUnavailable() {
    this.#setState("unavailable");
    if (this.#drawless) {
      const cause = "Moving faces need WebGL2, which this browser does not offer or has switched off.";
      this.#announce("A film instead of faces", `${cause} Type a sentence: the server makes a film of it for you.`);
    } else {
      this.#announce("No faces to show", "The faces could not be loaded; please reload the page.");
    }
  }

  #showIdle() {
    if (this.#stage) this.#showEmpty();
    else this.#showUnavailable();
  }

  #onLost(lost) {
    this.root.dataset.context = lost ? "lost" : "restored";
    if (lost) this.#notify("The graphics of this computer were interrupted; the faces return in a moment.");
    else this.#notify(this.#run?.notice ?? "");
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

/**
 * Starts the player in a `gr.HTML` component.
 *
 * @param {HTMLElement} host The component's element.
 * @param {{value: Run | null, heads: import("./heads.js").Head[], first_head: string,
 *   settings: import("./link.js").Setting[]}} props The component's properties.
 * @param {(name: string, callback: () => void) => void} watch Calls back when the server sends another value.
 * @param {(event: string, data: object) => void} trigger Raises an event of the component.
 */
export async function mount(host, props, watch, trigger) {
  const ontake = (wish) => trigger("submit", wish);
  const root = host.querySelector(".cteg-player");
  const player = new Player(root, props.heads, props.first_head, props.settings, ontake);
  host.cteg = player;
  watch("value", () => player.show(props.value).catch((error) => player.fail(error)));
  await player.load();
  await player.restore();
  setTimeout(() => trigger("select", {})); // the page asks for the link now
  return {
    begin: (text, samples) => player.begin(text, samples),
    end: () => player.end(),
    taken: (file) => player.taken(file),
    run: () => player.runId,
    readLink: (form) => player.readLink(form),
    followLink: () => player.followLink(),
    raterId: server.raterId,
  };
}
