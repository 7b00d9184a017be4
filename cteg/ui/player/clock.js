/** The one clock that all faces share. It knows no drawing and no page; time is handed in. */

/** Pause on the last frame before a loop begins again, in seconds: without it the jump reads as part of the acting. */
export const REST = 0.5;

export const SPEEDS = [0.25, 0.5, 1, 1.5, 2];

export class Clock {
  constructor() {
    this.fps = 25;
    this.frames = 1;
    this.position = 0; // in frames, fractional while playing
    this.speed = 1;
    this.loop = true;
    this.playing = false;
    this.isGrowing = false; // more frames are on their way: the last one is no end
    this.#last = null;
    this.#resting = 0;
  }

  #last;
  #resting;

  /** The frame that is shown, a whole number. */
  get frame() {
    return Math.min(Math.floor(this.position + 1e-6), this.frames - 1);
  }

  /** Starts anew with other clips. */
  reset(frames, fps) {
    this.frames = Math.max(1, frames);
    this.fps = fps;
    this.seek(0);
  }

  /** Goes on with longer clips. */
  extend(frames) {
    this.frames = Math.max(this.frames, frames);
  }

  play() {
    if (this.atEnd && !this.loop) this.position = 0;
    this.playing = this.frames > 1;
    this.#last = null;
  }

  pause() {
    this.playing = false;
  }

  get atEnd() {
    return this.position >= this.frames - 1;
  }

  /** @param {number} position In frames; clamped to the clips. */
  seek(position) {
    this.position = Math.min(Math.max(position, 0), this.frames - 1);
    this.#resting = 0;
    this.#last = null;
  }

  /** Moves to the next or previous whole frame and stops there. */
  step(direction) {
    this.pause();
    this.seek(this.frame + direction);
  }

  /**
   * Lets time pass.
   *
   * @param {number} now Milliseconds.
   * @returns {boolean} Whether the position changed.
   */
  tick(now) {
    if (!this.playing) return false;
    const passed = this.#last === null ? 0 : Math.min((now - this.#last) / 1000, 0.25) * this.speed;
    this.#last = now;
    if (this.atEnd) return this.#rest(passed);
    this.position = Math.min(this.position + passed * this.fps, this.frames - 1);
    return passed > 0;
  }

  #rest(passed) {
    if (this.isGrowing) return false;
    if (!this.loop) {
      this.pause();
      return true;
    }
    this.#resting += passed;
    if (this.#resting < REST) return false;
    this.#resting = 0;
    this.position = 0;
    return true;
  }
}
