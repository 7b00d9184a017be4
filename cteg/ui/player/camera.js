/** The camera that all faces share: orbit and zoom around the middle of the face, and its matrices. */

const FIELD_OF_VIEW = (20 * Math.PI) / 180; // a portrait lens: noses stay in proportion
const PITCH_LIMIT = 1.2;
const ZOOM_LIMITS = [0.6, 3];

export class Camera {
  /** @param {{face: import("./rig.js").Box, head: import("./rig.js").Box}} bounds */
  constructor(bounds) {
    this.matrix = new Float32Array(16);
    this.eye = new Float32Array(3);
    this.frame(bounds);
    this.reset();
  }

  /** Looks at another head; turn and zoom stay. */
  frame({ face, head }) {
    const middle = (axis) => (face.low[axis] + face.high[axis]) / 2;
    const faceHeight = face.high[1] - face.low[1];
    // The frame reaches from just below the chin to the crown where the head is not much taller than its face.
    const top = Math.min(head.high[1], face.high[1] + 0.55 * faceHeight);
    const bottom = face.low[1] - 0.16 * faceHeight;
    // The turning point lies between face and skull, so that a turned head stays in its frame.
    const depth = (middle(2) + (head.low[2] + head.high[2]) / 2) / 2;
    this.target = [middle(0), (top + bottom) / 2, depth];
    this.halfHeight = ((top - bottom) / 2) * 1.06;
    this.halfWidth = Math.max(head.high[0], -head.low[0]) * 1.06;
    // Below the chin the neck dissolves, before the mesh ends.
    this.fadeLow = head.low[1] + 0.15 * (face.low[1] - head.low[1]);
    this.fadeHigh = head.low[1] + 0.85 * (face.low[1] - head.low[1]);
  }

  reset() {
    this.yaw = 0;
    this.pitch = 0;
    this.zoom = 1;
  }

  /** Turns around the face, radians. */
  orbit(yaw, pitch) {
    this.yaw = Math.atan2(Math.sin(this.yaw + yaw), Math.cos(this.yaw + yaw));
    this.pitch = Math.min(Math.max(this.pitch + pitch, -PITCH_LIMIT), PITCH_LIMIT);
  }

  /** Multiplies the zoom. */
  scale(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, ZOOM_LIMITS[0]), ZOOM_LIMITS[1]);
  }

  /**
   * Updates `matrix` (column-major, world to clip space) and `eye` (world) for a viewport.
   *
   * @param {number} aspect Width by height.
   */
  update(aspect) {
    const half = Math.max(this.halfHeight, this.halfWidth / aspect) / this.zoom;
    const distance = half / Math.tan(FIELD_OF_VIEW / 2);
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    const right = [cy, 0, -sy], up = [-sy * sp, cp, -cy * sp], back = [sy * cp, sp, cy * cp];
    for (let axis = 0; axis < 3; axis++) this.eye[axis] = this.target[axis] + back[axis] * distance;
    const near = Math.max(distance - 0.4, 0.02), far = distance + 0.4;
    const focal = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const rows = [scaled(right, focal / aspect), scaled(up, focal), scaled(back, -(far + near) / (far - near))];
    const dot = (vector) => vector[0] * this.eye[0] + vector[1] * this.eye[1] + vector[2] * this.eye[2];
    for (let row = 0; row < 3; row++) {
      for (let column = 0; column < 3; column++) this.matrix[column * 4 + row] = rows[row][column];
      this.matrix[12 + row] = -dot(rows[row]);
    }
    this.matrix[14] -= (2 * far * near) / (far - near);
    for (let column = 0; column < 3; column++) this.matrix[column * 4 + 3] = -back[column];
    this.matrix[15] = dot(back);
  }
}

function scaled(vector, factor) {
  return vector.map((value) => value * factor);
}
