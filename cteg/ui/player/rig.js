/**
 * The head: reads a rig file and turns coefficients into vertices and normals.
 *
 *     coefficients (53) --> linear shapes --> joints (jaw, eyes, lids) --> positions (3V) --> normals (3V)
 *
 * The same maths as `cteg/face/rig.py`. All work happens in arrays that are made once, so that playing allocates
 * nothing.
 */

const D = 53;
const EXPRESSIONS = 50;
const JAW = 50;

/** @type {Record<string, any>} Array type of each safetensors element type that a rig uses. */
const ARRAYS = { F32: Float32Array, U32: Uint32Array, U16: Uint16Array, I16: Int16Array, U8: Uint8Array };

/**
 * Reads a safetensors file.
 *
 * @param {ArrayBuffer} buffer Header length (8 bytes), JSON header, raw data.
 * @returns {{metadata: Record<string, string>, tensors: Record<string, any>}} Flat typed arrays by name.
 */
export function parseSafetensors(buffer) {
  const headerLength = Number(new DataView(buffer).getBigUint64(0, true));
  if (!(headerLength > 0 && headerLength < buffer.byteLength)) throw new Error("not a safetensors file");
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(
    new TextDecoder().decode(new Uint8Array(buffer, 8, headerLength)),
  );
  const tensors = {};
  for (const [name, { dtype, data_offsets: [start, end] }] of Object.entries(entries)) {
    const begin = 8 + headerLength + start;
    tensors[name] = new ARRAYS[dtype](buffer.slice(begin, begin + end - start)); // a copy, hence aligned
  }
  return { metadata, tensors };
}

/**
 * Writes the rotation matrix of a rotation vector (radians) by Rodrigues' formula.
 *
 * @param {Float64Array} matrix Row-major 3x3, written.
 */
export function rotationMatrix(matrix, x, y, z) {
  const square = x * x + y * y + z * z;
  const angle = Math.sqrt(square);
  const first = angle > 1e-4 ? Math.sin(angle) / angle : 1 - square / 6;
  const second = angle > 1e-4 ? (1 - Math.cos(angle)) / square : 0.5 - square / 24;
  matrix[0] = 1 - second * (y * y + z * z);
  matrix[1] = second * x * y - first * z;
  matrix[2] = second * x * z + first * y;
  matrix[3] = second * x * y + first * z;
  matrix[4] = 1 - second * (x * x + z * z);
  matrix[5] = second * y * z - first * x;
  matrix[6] = second * x * z - first * y;
  matrix[7] = second * y * z + first * x;
  matrix[8] = 1 - second * (x * x + y * y);
}

const FORMATS = ["cteg-rig-1", "cteg-rig-2"];

export class Rig {
  /** @param {ArrayBuffer} buffer A head file; the first format has no `pivot_drive`. */
  constructor(buffer) {
    const { metadata, tensors } = parseSafetensors(buffer);
    if (!FORMATS.includes(metadata.format)) throw new Error(`not a head file: ${metadata.format}`);
    this.title = metadata.title;
    this.space = metadata.space;
    this.corrective = metadata.corrective;
    this.joints = JSON.parse(metadata.joint_names).length;
    this.neutral = tensors.neutral;
    this.triangles = tensors.triangles;
    this.color = tensors.color;
    this.occlusion = tensors.occlusion;
    this.gloss = tensors.gloss;
    this.vertexCount = tensors.neutral.length / 3;
    this.#tensors = tensors;
    this.#weights = shares(tensors.joint_weights);
    this.#deltas = scaledDeltas(tensors);
    this.#linear = new Float32Array(this.neutral.length);
    this.positions = new Float32Array(this.neutral);
    this.normals = new Float32Array(this.neutral.length);
  }

  #tensors;
  #weights;
  #deltas;
  #linear;
  #pivot = new Float64Array(3);
  #matrix = new Float64Array(9);

  /**
   * Poses the head: fills `positions` and `normals`.
   *
   * @param {ArrayLike<number>} coefficients The 53 coefficients of one frame.
   */
  pose(coefficients) {
    this.#applyShapes(coefficients);
    this.#applyJoints(coefficients);
    this.#computeNormals();
  }

  #applyShapes(coefficients) {
    this.#linear.set(this.neutral);
    for (let shape = 0; shape < EXPRESSIONS; shape++) this.#addShape(shape, coefficients[shape]);
    const x = coefficients[JAW], y = coefficients[JAW + 1], z = coefficients[JAW + 2];
    if (this.corrective === "jaw_angle") {
      const angle = Math.sqrt(x * x + y * y + z * z);
      this.#addShape(EXPRESSIONS, Math.min(angle / this.#tensors.corrective_angle[0], 1));
    } else if (this.corrective === "jaw_rotation") {
      rotationMatrix(this.#matrix, x, y, z);
      for (let entry = 0; entry < 9; entry++) {
        this.#addShape(EXPRESSIONS + entry, this.#matrix[entry] - (entry % 4 === 0 ? 1 : 0));
      }
    }
  }

  #addShape(shape, weight) {
    if (weight === 0) return;
    const { shape_offsets: offsets, shape_vertices: vertices } = this.#tensors;
    const linear = this.#linear, deltas = this.#deltas;
    for (let entry = offsets[shape]; entry < offsets[shape + 1]; entry++) {
      const target = vertices[entry] * 3, source = entry * 3;
      linear[target] += weight * deltas[source];
      linear[target + 1] += weight * deltas[source + 1];
      linear[target + 2] += weight * deltas[source + 2];
    }
  }

  #applyJoints(coefficients) {
    this.positions.set(this.#linear);
    for (let joint = 0; joint < this.joints; joint++) {
      const drive = this.#tensors.joint_drive;
      const x = driven(drive, joint, 0, coefficients);
      const y = driven(drive, joint, 1, coefficients);
      const z = driven(drive, joint, 2, coefficients);
      if (x === 0 && y === 0 && z === 0) continue;
      rotationMatrix(this.#matrix, x, y, z);
      this.#placePivot(joint, coefficients);
      this.#turn(joint);
    }
  }

  #placePivot(joint, coefficients) {
    const { joint_pivots: pivots, pivot_drive: drive } = this.#tensors;
    for (let axis = 0; axis < 3; axis++) {
      this.#pivot[axis] = pivots[joint * 3 + axis] + (drive ? driven(drive, joint, axis, coefficients) : 0);
    }
  }

  /** Adds w (R (v - p) + p - v) to every vertex that the joint holds; R is the current matrix, p the current pivot. */
  #turn(joint) {
    const { joint_offsets: offsets, joint_vertices: vertices } = this.#tensors;
    const linear = this.#linear, positions = this.positions, weights = this.#weights, m = this.#matrix;
    const px = this.#pivot[0], py = this.#pivot[1], pz = this.#pivot[2];
    for (let entry = offsets[joint]; entry < offsets[joint + 1]; entry++) {
      const v = vertices[entry] * 3, weight = weights[entry];
      const x = linear[v] - px, y = linear[v + 1] - py, z = linear[v + 2] - pz;
      positions[v] += weight * (m[0] * x + m[1] * y + m[2] * z - x);
      positions[v + 1] += weight * (m[3] * x + m[4] * y + m[5] * z - y);
      positions[v + 2] += weight * (m[6] * x + m[7] * y + m[8] * z - z);
    }
  }

  /** Area-weighted vertex normals of the present positions. */
  #computeNormals() {
    const p = this.positions, n = this.normals, triangles = this.triangles;
    n.fill(0);
    for (let corner = 0; corner < triangles.length; corner += 3) {
      const a = triangles[corner] * 3, b = triangles[corner + 1] * 3, c = triangles[corner + 2] * 3;
      const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      n[a] += x; n[a + 1] += y; n[a + 2] += z;
      n[b] += x; n[b + 1] += y; n[b + 2] += z;
      n[c] += x; n[c + 1] += y; n[c + 2] += z;
    }
    for (let v = 0; v < n.length; v += 3) {
      const length = Math.sqrt(n[v] * n[v] + n[v + 1] * n[v + 1] + n[v + 2] * n[v + 2]);
      const scale = 1 / Math.max(length, 1e-20);
      n[v] *= scale; n[v + 1] *= scale; n[v + 2] *= scale;
    }
  }

  /**
   * Returns the box around everything that expressions move (the face without skull and neck) and the whole head's.
   *
   * @returns {{face: Box, head: Box}}
   * @typedef {{low: number[], high: number[]}} Box Lowest and highest x, y, z in metres.
   */
  bounds() {
    const moved = new Set();
    const { shape_offsets: offsets, shape_vertices: vertices } = this.#tensors;
    const reach = 0.0015; // metres; smaller movements fade out over the skull
    for (let entry = 0; entry < offsets[EXPRESSIONS]; entry++) {
      const d = entry * 3;
      if (Math.hypot(this.#deltas[d], this.#deltas[d + 1], this.#deltas[d + 2]) > reach) moved.add(vertices[entry]);
    }
    const all = Array.from({ length: this.vertexCount }, (_, index) => index);
    return { face: boxAround(this.neutral, moved.size ? moved : all), head: boxAround(this.neutral, all) };
  }
}

/** One axis of a vector that the coefficients drive: a row of a (joints, 3, 53) tensor times the coefficients. */
function driven(drive, joint, axis, coefficients) {
  const row = (joint * 3 + axis) * D;
  let sum = 0;
  for (let index = 0; index < D; index++) sum += drive[row + index] * coefficients[index];
  return sum;
}

/** Turns weights of 8 or 16 bits into shares 0...1. */
function shares(levels) {
  const largest = 2 ** (8 * levels.BYTES_PER_ELEMENT) - 1;
  return Float32Array.from(levels, (level) => level / largest);
}

/** Turns the int16 deltas of all shapes into metres. */
function scaledDeltas({ shape_offsets: offsets, shape_deltas: steps, shape_scale: scales }) {
  const deltas = new Float32Array(steps.length);
  for (let shape = 0; shape < scales.length; shape++) {
    for (let index = offsets[shape] * 3; index < offsets[shape + 1] * 3; index++) {
      deltas[index] = steps[index] * scales[shape];
    }
  }
  return deltas;
}

/** The box around some vertices. */
function boxAround(positions, vertices) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const vertex of vertices) {
    for (let axis = 0; axis < 3; axis++) {
      low[axis] = Math.min(low[axis], positions[vertex * 3 + axis]);
      high[axis] = Math.max(high[axis], positions[vertex * 3 + axis]);
    }
  }
  return { low, high };
}
