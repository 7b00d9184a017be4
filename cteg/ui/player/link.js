/** Links that restore a result, and the lines of code that make it again. */

const LONGEST = 500; // characters of a sentence

/**
 * @typedef {object} Setting One setting of a request.
 * @property {string} name In links and in the web API.
 * @property {string} label For people.
 * @property {number} low
 * @property {number} high
 * @property {number} usual Where nothing is chosen.
 * @property {number} step 1 for whole numbers.
 */

/**
 * @typedef {object} Request What makes a result: `text`, one number for every setting, and the name of the `head`.
 */

/** The address that restores a result. */
export function makeLink(page, settings, request) {
  const link = new URL(page);
  link.search = link.hash = "";
  link.searchParams.set("text", request.text);
  for (const { name } of settings) link.searchParams.set(name, String(request[name]));
  link.searchParams.set("head", request.head);
  return link.href;
}

/**
 * Reads the address of the page.
 *
 * @param {string} search Its query.
 * @param {Setting[]} settings
 * @param {string[]} heads Names that are offered.
 * @returns {{request: Partial<Request>, wrong: string[]} | null} What it asks for and the labels of what cannot be
 * used; null if it asks for nothing.
 */
export function readLink(search, settings, heads) {
  const query = new URLSearchParams(search);
  const request = {}, wrong = [];
  const read = (name, label, check) => {
    if (!query.has(name)) return;
    const value = check(query.get(name));
    if (value === null) wrong.push(label);
    else request[name] = value;
  };
  read("text", "sentence", (text) => (text.trim() && text.length <= LONGEST ? text : null));
  for (const setting of settings) read(setting.name, setting.label, (text) => readNumber(text, setting));
  read("head", "head", (name) => (heads.includes(name) ? name : null));
  return Object.keys(request).length || wrong.length ? { request, wrong } : null;
}

/** One sentence about what a link asks for and cannot have. */
export function complain(wrong) {
  const list = new Intl.ListFormat("en").format(wrong);
  const [are, they] = wrong.length === 1 ? ["is", "it was"] : ["are", "they were"];
  return `In this link the ${list} ${are} not usable, so ${they} left as usual.`;
}

function readNumber(text, { low, high, step }) {
  const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  const fits = value >= low && value <= high && (step !== 1 || Number.isInteger(value));
  return fits ? value : null;
}

/** Python that makes a result again with the package. */
export function pythonCode(settings, request, weights) {
  const source = weights === "cteg-open" ? "" : JSON.stringify(weights);
  return `import cteg

generator = cteg.load(${source})
clips = generator.generate(
    ${pythonArguments(settings, request)}
)
rig = cteg.load_rig(${JSON.stringify(request.head)})
cteg.export.to_glb(clips[0], rig, "face1.glb")`;
}

/** Python that asks this very app for a result. */
export function clientCode(settings, request, root) {
  return `from gradio_client import Client

result = Client(${JSON.stringify(root)}).predict(
    ${pythonArguments(settings, request)},
    api_name="/generate",
)
result["clips"][0]["coefficients"]  # frames x 53`;
}

/** A string in JSON is one in Python, too. */
function pythonArguments(settings, request) {
  return [`text=${JSON.stringify(request.text)}`, ...settings.map(({ name }) => `${name}=${request[name]}`)].join(", ");
}
