/** A clip as the page receives it: decoding and reading between two frames. */

export const D = 53;

/**
 * @typedef {object} ClipData One clip of the component's value.
 * @property {number} seed
 * @property {number} frames
 * @property {number} scale Value of one int16 step.
 * @property {string} data Base64 of little-endian int16, frames x 53.
 * @property {string | null} token Key to rate the clip; null where ratings are off.
 */

export class Clip {
  /** @param {ClipData} source */
  constructor(source) {
    this.seed = source.seed;
    this.token = source.token;
    this.frames = source.frames;
    this.coefficients = decode(source.data, source.scale).subarray(0, this.frames * D); // the study pads its clips
    if (this.coefficients.length !== this.frames * D) throw new Error("a clip arrived incomplete");
  }

  /**
   * Writes the 53 coefficients at a frame position; positions between two frames are blended, positions beyond the
   * last frame rest on it.
   *
   * @param {Float32Array} target
   * @param {number} position In frames, may be fractional.
   */
  sample(target, position) {
    const last = this.frames - 1;
    const clamped = Math.min(Math.max(position, 0), last);
    const from = Math.min(Math.floor(clamped), Math.max(last - 1, 0));
    const to = Math.min(from + 1, last);
    const share = clamped - from;
    const a = from * D, b = to * D, values = this.coefficients;
    for (let index = 0; index < D; index++) {
      target[index] = values[a + index] + share * (values[b + index] - values[a + index]);
    }
  }

  /** Length of the movement away from neutral at a frame, to find where a clip is at its strongest. */
  strength(frame) {
    let sum = 0;
    for (let index = frame * D; index < (frame + 1) * D; index++) sum += this.coefficients[index] ** 2;
    return Math.sqrt(sum);
  }
}

/** A clip of one neutral frame, for the faces that wait for a sentence. */
export function neutralClip() {
  return { frames: 1, sample: (target) => target.fill(0), strength: () => 0, seed: null, token: null };
}

/**
 * The frame at which the clips together are most expressive: the still picture where nothing may move.
 *
 * @param {Clip[]} clips
 */
export function strongestFrame(clips) {
  let best = 0, most = -1;
  const frames = Math.max(...clips.map((clip) => clip.frames));
  for (let frame = 0; frame < frames; frame++) {
    const sum = clips.reduce((total, clip) => total + clip.strength(Math.min(frame, clip.frames - 1)), 0);
    if (sum > most) [best, most] = [frame, sum];
  }
  return best;
}

/** Base64 of little-endian int16 to floats; the order of bytes does not depend on this computer. */
function decode(text, scale) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length >> 1);
  for (let index = 0; index < values.length; index++) values[index] = view.getInt16(index * 2, true) * scale;
  return values;
}
