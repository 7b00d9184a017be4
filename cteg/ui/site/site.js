/** A page of ready clips: sentences to pick, the player, and ratings that stay in this browser. */

import { count, element } from "./dom.js";
import { complain, readLink } from "./link.js";
import { LocalRatings } from "./local.js";
import { countRatings } from "./memory.js";
import { Player } from "./player.js";

/**
 * @typedef {object} Sentence
 * @property {string} label What its button says above it; empty for nothing.
 * @property {string} text
 * @property {string} url Where its clips are.
 */

class Site {
  /** @param {{heads: object[], settings: object[], sentences: Sentence[], version: string}} facts */
  constructor(facts) {
    this.#facts = facts;
    this.#ratings = new LocalRatings(facts.version, () => this.#tell());
    const backend = {
      root: new URL("./", document.baseURI),
      makes: false,
      health: async () => null,
      saveRating: (rating) => this.#ratings.saveRating(rating),
      saveChoice: (choice) => this.#ratings.saveChoice(choice),
      askFile: () => {},
    };
    const root = document.querySelector(".cteg-player");
    this.player = new Player(root, facts.heads, facts.heads[0].url, facts.settings, backend);
    root.parentElement.cteg = this.player;
    this.#buttons = facts.sentences.map((sentence) => this.#makeButton(sentence));
    document.querySelector("#cteg-sentences").append(...this.#buttons);
    root.append(this.#makeBar());
    document.querySelector(".cteg-header").append(themeButton());
    this.#tell();
  }

  #facts;
  #ratings;
  #buttons;
  #tally;
  #save;
  #delete;
  #chosen = null;

  /** Shows the sentence that the address asks for, else the first one. */
  async start() {
    document.querySelector("#cteg-late").remove();
    await this.player.load();
    const { heads, heading } = this.player;
    const link = readLink(location.search, this.#facts.settings, heads.names);
    const asked = this.#facts.sentences.find(({ text }) => text === link?.request.text);
    const wrong = link && (link.wrong.includes("sentence") || (link.request.text && !asked));
    if (wrong) heading.complain(complain(["sentence"]));
    if (link?.request.head) await this.player.wear(heads.named(link.request.head));
    await this.#show(asked ?? this.#facts.sentences[0]);
  }

  async #choose(sentence) {
    const { heading } = this.player;
    heading.complain("");
    history.replaceState(null, "", `?${new URLSearchParams({ text: sentence.text })}`);
    this.player.begin(sentence.text, 1);
    heading.announce(sentence.text, "Fetching the faces…");
    await this.#show(sentence);
  }

  /** Of several sentences that are picked in a row, the last one counts. */
  async #show(sentence) {
    this.#chosen = sentence;
    this.#facts.sentences.forEach((other, index) => {
      this.#buttons[index].setAttribute("aria-pressed", String(other === sentence));
    });
    try {
      const response = await fetch(new URL(sentence.url, document.baseURI));
      if (!response.ok) throw new Error(`they did not arrive (${response.status})`);
      const run = await response.json();
      if (this.#chosen !== sentence) return;
      this.#ratings.meet(run);
      await this.player.show(run, this.#ratings.answers(run));
    } catch (error) {
      if (this.#chosen === sentence) this.player.fail(error);
    }
  }

  #makeButton(sentence) {
    const label = sentence.label ? [element("span", { class: "label", text: sentence.label })] : [];
    const onclick = () => this.#choose(sentence);
    const words = element("span", { class: "words", text: sentence.text });
    return element("button", { type: "button", class: "cteg-sentence", onclick }, ...label, words);
  }

  #makeBar() {
    this.#tally = element("span", { class: "detail", role: "status" });
    this.#save = element("button", { type: "button", text: "Download (CSV)", onclick: () => this.#download() });
    this.#delete = element("button", { type: "button", text: "Delete", onclick: () => this.#forget() });
    const title = element("strong", { text: "Ratings" });
    const bar = element("div", { class: "bar", role: "group", "aria-label": "Ratings" });
    bar.append(title, this.#tally, this.#save, this.#delete);
    return bar;
  }

  #tell() {
    const answers = this.#ratings.count;
    this.#tally.textContent = answers ? `${count(answers, "rating")} in this browser` : "None in this browser yet";
    this.#save.disabled = this.#delete.disabled = !answers;
  }

  #download() {
    const address = URL.createObjectURL(new Blob([this.#ratings.csv()], { type: "text/csv" }));
    element("a", { href: address, download: "cteg_ratings.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  #forget() {
    if (!confirm("Delete all ratings that this browser keeps for this page?")) return;
    const answers = this.#ratings.count;
    this.#ratings.forget();
    countRatings(-answers);
    this.#show(this.#chosen);
  }
}

function themeButton() {
  const name = () => (window.ctegTheme.isDark ? "Light colours" : "Dark colours");
  const button = element("button", { type: "button", class: "cteg-theme", text: name() });
  button.addEventListener("click", () => {
    window.ctegTheme.toggle();
    button.textContent = name();
  });
  return button;
}

const site = new Site(JSON.parse(document.querySelector("#cteg-site").textContent));
site.start().catch((error) => site.player.fail(error));
