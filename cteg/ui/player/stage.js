/** The faces on the page: one canvas over a grid of cells, drawn only when something changed and can be seen. */

import { Camera } from "./camera.js";
import { D, neutralClip } from "./clip.js";
import { openContext, Renderer } from "./gl.js";

const MAX_PIXELS = 8_000_000;
const SLOW_FRAME = 55; // milliseconds between two frames above which fewer pixels are drawn while playing
const LEAST_QUALITY = 0.5;

export class Stage {
  /**
   * @param {HTMLElement} grid Holds the canvas and the cells.
   * @param {import("./rig.js").Rig} rig
   * @param {import("./clock.js").Clock} clock
   * @param {{onframe: () => void, onlost: (lost: boolean) => void}} listeners
   */
  constructor(grid, rig, clock, { onframe, onlost }) {
    this.camera = new Camera(rig.bounds());
    this.clips = [neutralClip()];
    this.framesDrawn = 0;
    this.#grid = grid;
    this.#rig = rig;
    this.#clock = clock;
    this.#onframe = onframe;
    this.#canvas = grid.querySelector("canvas");
    const context = openContext(this.#canvas);
    if (!context) throw new NoWebGL("This browser has no WebGL2.");
    this.#gl = context.gl;
    this.#smooth = context.smooth;
    this.#quality = context.smooth ? 1 : 0.7;
    this.#renderer = new Renderer(this.#gl, rig);
    this.#watchContext(onlost);
    new ResizeObserver(() => this.refresh()).observe(grid);
    new IntersectionObserver(([entry]) => this.#setVisible(entry.isIntersecting)).observe(grid);
  }

  #grid;
  #rig;
  #clock;
  #onframe;
  #canvas;
  #gl;
  #smooth;
  #renderer;
  #visible = true;
  #pending = 0;
  #quality = 1;
  #moved = true;
  #boxes = [];
  #pace = 16;
  #lastTime = 0;
  #coefficients = new Float32Array(D);

  /** The head of all faces. */
  get rig() {
    return this.#rig;
  }

  /** Shows all faces on another head. */
  set rig(rig) {
    this.#rig = rig;
    this.camera.frame(rig.bounds());
    this.#renderer.dispose();
    this.#renderer = new Renderer(this.#gl, rig);
    this.refresh();
  }

  /** The parts of the cells that show a face, in order. */
  get windows() {
    return /** @type {HTMLElement[]} */ ([...this.#grid.querySelectorAll(".window")]);
  }

  /** Asks for a new picture with the faces where the page has them now. */
  refresh() {
    this.#moved = true;
    this.invalidate();
  }

  /** Asks for a new picture at the browser's next opportunity. */
  invalidate() {
    if (!this.#pending && this.#visible) this.#pending = requestAnimationFrame((now) => this.#onTime(now));
  }

  /** Draws the present position now. */
  draw() {
    if (this.#gl.isContextLost()) return;
    if (!this.#clock.playing || this.#moved) this.#layOut();
    this.#renderer.clear();
    for (let index = 0; index < this.#boxes.length; index++) {
      const box = this.#boxes[index];
      if (!box.width || index >= this.clips.length) continue; // another face is enlarged
      this.clips[index].sample(this.#coefficients, this.#clock.position);
      this.#rig.pose(this.#coefficients);
      this.#renderer.draw(box, this.camera);
    }
    this.framesDrawn++;
    this.#onframe();
  }

  #onTime(now) {
    this.#pending = 0;
    if (!this.#grid.isConnected) return;
    this.#clock.tick(now);
    this.#adapt(now);
    this.draw();
    if (this.#clock.playing) this.invalidate();
  }

  /** Draws fewer pixels while playing where the computer cannot keep up; still pictures stay sharp. */
  #adapt(now) {
    const passed = now - this.#lastTime;
    this.#lastTime = now;
    if (!this.#clock.playing || passed > 1000) return;
    this.#pace += 0.15 * (passed - this.#pace);
    if (this.#pace > SLOW_FRAME && this.#quality > LEAST_QUALITY) {
      this.#quality = Math.max(this.#quality * 0.7, LEAST_QUALITY);
      this.#moved = true;
      this.#pace = SLOW_FRAME * 0.7; // gives the new setting time to show
    }
  }

  /** Sizes the canvas and finds the rectangle of each face in it; kept while nothing on the page moves. */
  #layOut() {
    const scale = this.#fitCanvas();
    const origin = this.#canvas.getBoundingClientRect();
    this.#boxes = this.windows.map((window) =>
      pixelBox(window.getBoundingClientRect(), origin, scale, this.#canvas.height),
    );
    this.#moved = false;
  }

  /** Sizes the canvas and returns its pixels per CSS pixel. */
  #fitCanvas() {
    const { clientWidth: width, clientHeight: height } = this.#grid;
    const density = Math.min(window.devicePixelRatio || 1, 2);
    const wanted = this.#clock.playing ? density * this.#quality : this.#smooth ? density : Math.max(density, 2);
    const scale = Math.min(wanted, Math.sqrt(MAX_PIXELS / Math.max(width * height, 1)));
    const [columns, rows] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    if (this.#canvas.width !== columns || this.#canvas.height !== rows) {
      this.#canvas.width = columns;
      this.#canvas.height = rows;
    }
    return scale;
  }

  #setVisible(visible) {
    this.#visible = visible;
    if (visible) this.invalidate();
  }

  #watchContext(onlost) {
    this.#canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // lets the browser restore it
      onlost(true);
    });
    this.#canvas.addEventListener("webglcontextrestored", () => {
      this.#renderer = new Renderer(this.#gl, this.#rig);
      onlost(false);
      this.invalidate();
    });
  }
}

/** Raised where faces cannot be drawn at all. */
export class NoWebGL extends Error {}

/** Turns a rectangle of the page into one of the canvas, whose y starts at the bottom. */
function pixelBox(box, origin, scale, canvasHeight) {
  const x = Math.round((box.left - origin.left) * scale);
  const top = Math.round((box.top - origin.top) * scale);
  const width = Math.round(box.width * scale), height = Math.round(box.height * scale);
  return { x, y: canvasHeight - top - height, width, height };
}
