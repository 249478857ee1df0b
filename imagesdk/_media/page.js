"use strict";
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Return an element. Texts become text nodes, so that no prompt is ever read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child != null));
  return element;
}

/** Fill a <dl> with pairs of a name and a value. */
function fillFacts(list, pairs) {
  const shown = value => typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
  list.replaceChildren(...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, shown(value))]));
}

const toast = make("p", {class: "toast", role: "status", popover: "manual"});
let toastEnd = 0;
function say(text) {
  document.body.append(toast);
  toast.textContent = text;
  toast.hidePopover();
  toast.showPopover(); // above an open dialog
  clearTimeout(toastEnd);
  toastEnd = setTimeout(() => toast.hidePopover(), 1800);
}

async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or a page from a place that is not secure
    const area = make("textarea", {readonly: true});
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.value = text;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return say("The browser does not allow it");
  }
  say(`${what} copied`);
}

const isTyping = event => event.target.matches("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey;

/** Move the focus between the cards of a grid as the arrow keys say. Return whether it moved. */
function moveFocus(event, cards) {
  const now = cards.indexOf(document.activeElement);
  if (now < 0) return false;
  const top = cards[now].getBoundingClientRect().top;
  let columns = 1;
  for (const step of [1, -1]) {
    let count = 1;
    while (cards[now + step * count] && Math.abs(cards[now + step * count].getBoundingClientRect().top - top) < 2) count++;
    columns = step === 1 ? count : columns + count - 1;
  }
  const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -now, End: cards.length - 1 - now};
  const next = cards[now + steps[event.key]];
  if (!next) return false;
  next.focus();
  next.scrollIntoView({block: "nearest"});
  event.preventDefault();
  return true;
}
