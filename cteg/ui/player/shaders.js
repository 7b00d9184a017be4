/**
 * How a face looks: skin under a warm key light, a cool fill and a rim light, worked out per pixel in linear light.
 *
 * The lights stand still in the room of the head, so that turning the head shows its form.
 */

export const VERTEX_SHADER = `#version 300 es
precision highp float;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 base;      // sRGB colour and occlusion, 0...1
layout(location = 3) in float gloss;
uniform mat4 camera;
out vec3 at;
out vec3 facing;
out vec4 surface;                       // linear colour and occlusion
out float shine;

void main() {
  gl_Position = camera * vec4(position, 1.0);
  at = position;
  facing = normal;
  surface = vec4(pow(base.rgb, vec3(2.2)), base.a);
  shine = gloss;
}`;

export const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 at;
in vec3 facing;
in vec4 surface;
in float shine;
uniform vec3 eye;
uniform vec2 fade;                      // heights between which the neck dissolves into the background
out vec4 pixel;

const vec3 KEY = normalize(vec3(-0.72, 0.72, 0.8));
const vec3 FILL = normalize(vec3(0.85, 0.05, 0.65));
const vec3 RIM = normalize(vec3(0.5, 0.5, -0.9));
const vec3 KEY_COLOR = vec3(1.0, 0.955, 0.9) * 1.12;
const vec3 FILL_COLOR = vec3(0.78, 0.87, 1.0) * 0.3;
const vec3 RIM_COLOR = vec3(0.95, 0.97, 1.0) * 0.75;
const vec3 SKY = vec3(0.36, 0.375, 0.42);
const vec3 GROUND = vec3(0.2, 0.165, 0.16);
const vec3 SCATTER = vec3(0.5, 0.34, 0.28);   // light that bleeds past the edge of shadow, red the furthest

vec3 wrapped(float lambert) {
  vec3 reach = max((vec3(lambert) + SCATTER) / (1.0 + SCATTER), 0.0);
  return reach * reach;
}

float highlight(vec3 normal, vec3 light, vec3 view, float power) {
  return pow(max(dot(normal, normalize(light + view)), 0.0), power);
}

void main() {
  vec3 view = normalize(eye - at);
  vec3 normal = normalize(facing);
  float open = surface.a;
  float soft = mix(0.45, 1.0, open);
  float wet = shine * shine;

  vec3 ambient = mix(GROUND, SKY, normal.y * 0.5 + 0.5) * open;
  vec3 diffuse = wrapped(dot(normal, KEY)) * KEY_COLOR * soft + wrapped(dot(normal, FILL)) * FILL_COLOR * soft;
  vec3 color = surface.rgb * (ambient + diffuse);

  float grazing = pow(1.0 - max(dot(normal, view), 0.0), 4.0);
  float sheen = highlight(normal, KEY, view, 16.0) * 0.1 + highlight(normal, FILL, view, 14.0) * 0.025;
  float spark = highlight(normal, KEY, view, 190.0) * 1.3 + highlight(normal, FILL, view, 120.0) * 0.25;
  float lustre = highlight(normal, KEY, view, 48.0) * 0.22;
  float dry = 1.0 - wet;                // eyes have a spark, but no broad sheen that would veil the iris
  color += KEY_COLOR * soft * (sheen * (0.35 + shine * dry) + lustre * shine * dry + spark * wet);
  color += RIM_COLOR * grazing * max(dot(normal, RIM) * 0.5 + 0.5, 0.0) * open * 0.55;

  color = color / (1.0 + 0.12 * color);
  float solid = smoothstep(fade.x, fade.y, at.y);
  pixel = vec4(pow(clamp(color, 0.0, 1.0), vec3(1.0 / 2.2)) * solid, solid);
}`;
