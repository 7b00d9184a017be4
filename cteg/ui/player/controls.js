/** The bar under the faces, and the keys of the player. */

import { SPEEDS } from "./clock.js";
import { element, iconButton, relabel } from "./dom.js";

const TURN = Math.PI / 24;
const ZOOM = 1.15;

/**
 * @typedef {object} Deck What the controls work on.
 * @property {import("./clock.js").Clock} clock
 * @property {() => void} toggle Plays or pauses.
 * @property {(position: number) => void} seek
 * @property {(direction: number) => void} step
 * @property {(yaw: number, pitch: number) => void} orbit
 * @property {(factor: number) => void} zoom
 * @property {() => void} resetView
 * @property {() => void} leaveEnlarged
 * @property {() => void} changed Called after speed or loop changed.
 * @property {import("./captions.js").Captions} [captions] What is said, if it can be shown.
 */

export class Controls {
  /** @param {Deck} deck */
  constructor(deck) {
    this.#deck = deck;
    this.#play = iconButton("play", "Play", () => deck.toggle());
    this.#play.classList.add("primary");
    this.#scrubber = element("input", { type: "range", min: "0", max: "1", step: "1", value: "0" });
    this.#scrubber.setAttribute("aria-label", "Position");
    this.#scrubber.addEventListener("input", () => deck.seek(Number(this.#scrubber.value)));
    this.#time = element("output", { class: "time" });
    this.#loop = iconButton("loop", "Repeat", () => this.#setLoop(!deck.clock.loop));
    this.node = element("div", { class: "controls", role: "group", "aria-label": "Playback" });
    if (deck.captions) this.node.append(deck.captions.node);
    this.node.append(this.#play, this.#scrubber, this.#time, this.#speedMenu(), this.#loop);
    this.node.append(...(deck.captions ? [deck.captions.button] : []), this.#viewButtons());
    this.#setLoop(true);
  }

  #deck;
  #play;
  #scrubber;
  #time;
  #loop;

  /** Shows the state of the clock. */
  update() {
    const { clock } = this.#deck;
    const last = clock.frames - 1;
    const seconds = (frame) => (frame / clock.fps).toFixed(2);
    this.#scrubber.max = String(Math.max(last, 1));
    this.#scrubber.value = String(clock.playing ? clock.position : clock.frame);
    this.#scrubber.style.setProperty("--progress", `${(100 * clock.position) / Math.max(last, 1)}%`);
    const spoken = `${seconds(clock.frame)} of ${seconds(last)} seconds, frame ${clock.frame + 1} of ${clock.frames}`;
    this.#scrubber.setAttribute("aria-valuetext", spoken);
    this.#time.textContent = `${seconds(clock.frame)} / ${seconds(last)} s`;
    this.#deck.captions?.update(clock.frame);
    const label = clock.playing ? "Pause" : "Play";
    if (this.#play.title !== label) relabel(this.#play, label.toLowerCase(), label);
  }

  /**
   * Handles a key pressed anywhere in the player, unless the element under it needs that key itself.
   *
   * @param {KeyboardEvent} event
   */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input:not([type=range])")) return;
    if (event.key === " " && target.matches("button")) return;
    if (event.key.startsWith("Arrow") && target.matches("input")) return;
    const action = this.#keys[event.key];
    if (!action) return;
    event.preventDefault();
    action(this.#deck);
  }

  /** @type {Record<string, (deck: Deck) => void>} */
  #keys = {
    " ": (deck) => deck.toggle(),
    ",": (deck) => deck.step(-1),
    ".": (deck) => deck.step(1),
    ArrowLeft: (deck) => deck.orbit(-TURN, 0),
    ArrowRight: (deck) => deck.orbit(TURN, 0),
    ArrowUp: (deck) => deck.orbit(0, TURN),
    ArrowDown: (deck) => deck.orbit(0, -TURN),
    "+": (deck) => deck.zoom(ZOOM),
    "=": (deck) => deck.zoom(ZOOM),
    "-": (deck) => deck.zoom(1 / ZOOM),
    0: (deck) => deck.resetView(),
    Escape: (deck) => deck.leaveEnlarged(),
  };

  #setLoop(loop) {
    this.#deck.clock.loop = loop;
    this.#loop.setAttribute("aria-pressed", String(loop));
    this.#deck.changed();
  }

  #speedMenu() {
    const menu = element("select", { "aria-label": "Speed", title: "Speed" });
    for (const speed of SPEEDS) menu.append(element("option", { value: String(speed), text: `${speed}×` }));
    menu.value = "1";
    menu.addEventListener("change", () => {
      this.#deck.clock.speed = Number(menu.value);
      this.#deck.changed();
    });
    return menu;
  }

  #viewButtons() {
    const deck = this.#deck;
    return element(
      "span",
      { class: "view" },
      iconButton("minus", "Zoom out", () => deck.zoom(1 / ZOOM)),
      iconButton("plus", "Zoom in", () => deck.zoom(ZOOM)),
      iconButton("reset", "Reset view", () => deck.resetView()),
    );
  }
}

/**
 * Lets a pointer turn and zoom the faces: drag to turn, pinch or Ctrl + wheel to zoom, so that a plain wheel and a
 * vertical swipe still scroll the page.
 *
 * @param {HTMLElement} grid
 * @param {Deck} deck
 */
export function followPointer(grid, deck) {
  const pointers = new Map();
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  grid.addEventListener("pointerdown", (event) => {
    if (event.button || !event.target.closest(".window") || event.target.closest("button")) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    grid.setPointerCapture(event.pointerId);
  });
  grid.addEventListener("pointermove", (event) => {
    const from = pointers.get(event.pointerId);
    if (!from) return;
    const before = pointers.size === 2 ? spread() : 0;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 1) deck.orbit(-dx * 0.008, dy * 0.008);
    else if (pointers.size === 2 && before) deck.zoom(spread() / before);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    grid.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  grid.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey || !event.target.closest(".window")) return;
      event.preventDefault();
      deck.zoom(Math.exp(-event.deltaY * 0.01));
    },
    { passive: false },
  );
}
