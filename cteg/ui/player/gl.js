/** Draws faces into one WebGL2 canvas, each into a rectangle of its own. */

import { FRAGMENT_SHADER, VERTEX_SHADER } from "./shaders.js";

/**
 * Opens WebGL2, with smooth edges where the computer draws them at no great cost.
 *
 * @param {HTMLCanvasElement} canvas
 * @returns {{gl: WebGL2RenderingContext, smooth: boolean} | null} Null where there is no WebGL2.
 */
export function openContext(canvas) {
  const smooth = hasGraphicsHardware();
  const gl = canvas.getContext("webgl2", { alpha: true, antialias: smooth, powerPreference: "high-performance" });
  return gl && { gl, smooth };
}

/** Whether pictures are made by a graphics processor: where the name of the renderer is kept secret, yes. */
function hasGraphicsHardware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers allow only a few contexts at a time
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}

export class Renderer {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {import("./rig.js").Rig} rig
   */
  constructor(gl, rig) {
    this.#gl = gl;
    this.#rig = rig;
    this.#program = link(gl);
    this.#camera = gl.getUniformLocation(this.#program, "camera");
    this.#eye = gl.getUniformLocation(this.#program, "eye");
    this.#fade = gl.getUniformLocation(this.#program, "fade");
    this.#array = gl.createVertexArray();
    gl.bindVertexArray(this.#array);
    this.#positions = this.#attribute(0, 3, gl.FLOAT, rig.positions, gl.DYNAMIC_DRAW);
    this.#normals = this.#attribute(1, 3, gl.FLOAT, rig.normals, gl.DYNAMIC_DRAW);
    this.#attribute(2, 4, gl.UNSIGNED_BYTE, colorAndOcclusion(rig), gl.STATIC_DRAW);
    this.#attribute(3, 1, gl.UNSIGNED_BYTE, rig.gloss, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#makeBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, rig.triangles, gl.STATIC_DRAW);
    gl.useProgram(this.#program);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    gl.enable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 0);
  }

  #gl;
  #rig;
  #program;
  #array;
  #buffers = [];
  #camera;
  #eye;
  #fade;
  #positions;
  #normals;

  /** Gives back the memory of the graphics processor; nothing can be drawn afterwards. */
  dispose() {
    this.#gl.deleteVertexArray(this.#array);
    this.#buffers.forEach((buffer) => this.#gl.deleteBuffer(buffer));
    this.#gl.deleteProgram(this.#program);
  }

  /** Empties the whole canvas. */
  clear() {
    const gl = this.#gl;
    gl.scissor(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  /**
   * Draws the rig's present pose.
   *
   * @param {{x: number, y: number, width: number, height: number}} box In pixels of the canvas, y from the bottom.
   * @param {import("./camera.js").Camera} camera
   */
  draw(box, camera) {
    const gl = this.#gl;
    gl.viewport(box.x, box.y, box.width, box.height);
    gl.scissor(box.x, box.y, box.width, box.height);
    camera.update(box.width / box.height);
    gl.uniformMatrix4fv(this.#camera, false, camera.matrix);
    gl.uniform3fv(this.#eye, camera.eye);
    gl.uniform2f(this.#fade, camera.fadeLow, camera.fadeHigh);
    this.#upload(this.#positions, this.#rig.positions);
    this.#upload(this.#normals, this.#rig.normals);
    gl.drawElements(gl.TRIANGLES, this.#rig.triangles.length, gl.UNSIGNED_SHORT, 0);
  }

  #upload(buffer, values) {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW); // a new store each time: never waits for the last draw
  }

  #attribute(location, size, type, values, usage) {
    const gl = this.#gl;
    const buffer = this.#makeBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, usage);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, type !== gl.FLOAT, 0, 0);
    return buffer;
  }

  #makeBuffer() {
    this.#buffers.push(this.#gl.createBuffer());
    return this.#buffers.at(-1);
  }
}

/** Packs colour (3 bytes) and occlusion (1 byte) of every vertex. */
function colorAndOcclusion(rig) {
  const packed = new Uint8Array(rig.vertexCount * 4);
  for (let vertex = 0; vertex < rig.vertexCount; vertex++) {
    packed.set(rig.color.subarray(vertex * 3, vertex * 3 + 3), vertex * 4);
    packed[vertex * 4 + 3] = rig.occlusion[vertex];
  }
  return packed;
}

function link(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`the face cannot be drawn: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}
