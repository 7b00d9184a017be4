/** Small helpers to build and label elements. */

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {Record<string, any>} attributes `class`, `text`, `on*` handlers, properties that exist, else attributes.
 * @param {...(Node | string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const ICONS = {
  play: "M8 5.5v13l11-6.5z",
  pause: "M7 5.5h3.6v13H7zM13.4 5.5H17v13h-3.6z",
  loop: "M7 7h9.5V4.5L21 8.2l-4.5 3.7V9.4H9v3.1H7zM17 17H7.500v2.500L3 15.800l4.500-3.700v2.500H15v-3.100h2z",
  reset: "M12 5V2L7.500 6 12 10V7a5 5 0 1 1-5 5H5a7 7 0 1 0 7-7z",
  enlarge: "M4 4h6v2H7.400l3.300 3.300-1.400 1.400L6 7.400V10H4zM14 4h6v6h-2V7.400l-3.300 3.300-1.400-1.400L16.600 6H14zM4 14h2v2.600l3.300-3.300 1.400 1.400L7.400 18H10v2H4zM18 14h2v6h-6v-2h2.600l-3.300-3.300 1.400-1.400 3.300 3.300z",
  compare: "M4 5h7v14H4zM6 7v10h3V7zM13 5h7v14h-7zM15 7v10h3V7z",
  captions: "M3 5h18v14H3zM5 7v10h14V7zM7 13.500h10v2H7zM9 10h6v2H9z",
  shrink: "M10 4v6H4V8h2.600L3.300 4.700l1.400-1.400L8 6.600V4zM14 4h2v2.600l3.300-3.300 1.400 1.400L17.400 8H20v2h-6zM4 14h6v6H8v-2.600l-3.300 3.300-1.400-1.400L6.600 16H4zM14 14h6v2h-2.600l3.300 3.300-1.400 1.400-3.300-3.300V20h-2z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  minus: "M5 11h14v2H5z",
};

/** Makes one of the player's icons; it says nothing to a screen reader, its button does. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Makes a button with an icon and a spoken name. */
export function iconButton(name, label, onclick) {
  return element("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick }, icon(name));
}

/** Exchanges the icon and name of a button. */
export function relabel(button, name, label) {
  button.replaceChildren(icon(name));
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** "1 face", "4 faces". */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
