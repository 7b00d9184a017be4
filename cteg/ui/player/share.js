/** Below the files: a link to the result and the code that makes it again, each copied by a button. */

import { element } from "./dom.js";
import { clientCode, makeLink, pythonCode } from "./link.js";

const SHOWN = 2000; // milliseconds for which a button says that it copied

export class Share {
  /**
   * @param {import("./link.js").Setting[]} settings
   * @param {URL} root The app's root.
   * @param {() => {request: import("./link.js").Request, weights: string}} result What is shown now.
   * @param {boolean} hasApi Whether programs can ask the app.
   */
  constructor(settings, root, result, hasApi) {
    this.#link = element("input", { type: "text", readOnly: true, "aria-label": "Link to these faces" });
    this.#link.addEventListener("focus", () => this.#link.select());
    const copy = copyButton("Copy link", () => this.#link.value);
    const python = codeBlock("In Python");
    const client = codeBlock("From this app, with gradio_client");
    this.#fill = () => {
      const { request, weights } = result();
      this.#link.value = makeLink(location.href, settings, request);
      python.text = pythonCode(settings, request, weights);
      client.text = clientCode(settings, request, root.href);
    };
    const code = element("details", {}, element("summary", { text: "Code that makes these faces again" }));
    code.append(python.node, ...(hasApi ? [client.node] : []));
    this.node = element("div", { class: "bar share", role: "group", "aria-label": "Share" });
    this.node.append(element("strong", { text: "Share" }), this.#link, copy, code);
  }

  #link;
  #fill;

  /** Follows what is shown. */
  update() {
    this.#fill();
  }
}

function codeBlock(title) {
  const code = element("code");
  const head = element("p", {}, title, copyButton("Copy", () => code.textContent));
  return {
    node: element("div", { class: "code" }, head, element("pre", { tabIndex: 0 }, code)),
    set text(text) {
      code.textContent = text;
    },
  };
}

function copyButton(label, text) {
  const button = element("button", { type: "button", text: label, "aria-live": "polite" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it"; // browsers without that right, and pages without https
    }
    setTimeout(() => (button.textContent = label), SHOWN);
  });
  return button;
}
