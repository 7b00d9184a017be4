/** The faces of one page of the study: its sides lie next to each other and play one after the other. */

import { Clip } from "./clip.js";
import { Clock } from "./clock.js";
import { element } from "./dom.js";
import { Rig } from "./rig.js";
import { Stage } from "./stage.js";

export const SIDE_NAMES = ["Left", "Right"];

/** A clip that moves while its side is on, and rests where it is otherwise. */
class Turn {
  /** @param {Clip} clip */
  constructor(clip) {
    this.clip = clip;
    this.isOn = false;
    this.#rest = 0;
  }

  #rest;

  sample(target, position) {
    if (this.isOn) this.#rest = position;
    this.clip.sample(target, this.#rest);
  }
}

export class StudyViewer {
  /** @param {() => void} onchange Called when playing began or stopped. */
  constructor(onchange) {
    this.#onchange = onchange;
    this.clock.loop = false;
    this.node = element("div", { class: "faces" }, element("canvas", { "aria-hidden": "true" }));
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
  }

  /** The side that plays, or null. */
  playing = null;
  clock = new Clock();
  #onchange;
  #sides = [];
  #frames = [];
  #stage = null;
  #finish = () => {}; // ends what plays, with whether it reached its end

  /** Fetches the head and opens the canvas. */
  async load(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the head did not arrive (${response.status})`);
    const rig = new Rig(await response.arrayBuffer());
    this.#stage = new Stage(this.node, rig, this.clock, { onframe: () => this.#onFrame(), onlost: () => this.stop() });
  }

  /**
   * Shows the first frames of the clips of a page.
   *
   * @param {import("./clip.js").ClipData[][]} sides The clips of each side.
   */
  show(sides) {
    this.stop();
    this.#sides = sides.map((clips) => clips.map((source) => new Turn(new Clip(source))));
    this.#frames = sides.map((clips) => Math.max(...clips.map((clip) => clip.frames)));
    this.clock.reset(1, sides[0][0].fps);
    this.node.querySelectorAll(".side").forEach((side) => side.remove());
    this.node.dataset.sides = String(sides.length);
    this.node.dataset.size = String(sides[0].length);
    this.node.append(...sides.map((clips, index) => sideNode(clips.length, index, sides.length)));
    this.#stage.clips = this.#sides.flat();
    this.#stage.refresh();
  }

  /** Plays one side from its beginning; resolves with whether it was shown to its end. */
  play(side) {
    this.stop();
    this.playing = side;
    this.#sides.forEach((turns, index) => turns.forEach((turn) => (turn.isOn = index === side)));
    this.clock.reset(this.#frames[side], this.clock.fps);
    this.clock.play();
    this.#mark();
    this.#stage.refresh();
    return new Promise((done) => (this.#finish = done));
  }

  /** Stops what plays. */
  stop() {
    this.#end(false);
  }

  #onFrame() {
    Object.assign(this.node.dataset, { frame: String(this.clock.frame), playing: String(this.clock.playing) });
    if (this.playing !== null && !this.clock.playing) this.#end(true);
  }

  #end(isWhole) {
    if (this.playing === null) return;
    this.playing = null;
    this.clock.pause();
    this.#sides.flat().forEach((turn) => (turn.isOn = false));
    this.#mark();
    this.#stage.refresh();
    this.#finish(isWhole);
  }

  #mark() {
    this.node.querySelectorAll(".side").forEach((side, index) => {
      side.classList.toggle("on", index === this.playing);
    });
    this.#onchange();
  }
}

/** Makes the windows of one side. */
function sideNode(count, index, sides) {
  const name = sides > 1 ? SIDE_NAMES[index] : "The face";
  const windows = Array.from({ length: count }, (_, number) => {
    const label = count > 1 ? `${name} set, face ${number + 1} of ${count}` : name;
    return element("div", { class: "window" }, element("div", { class: "picture", role: "img", "aria-label": label }));
  });
  return element("figure", { class: "side" }, ...windows);
}
