const cards = $$("article"), groups = $$(".group"), dialog = $("dialog"), stage = $(".stage"), large = $("img", stage);
const search = $("input[type=search]"), size = $("input[type=range]"), chips = $(".chips"), others = $("#others");
const factsOf = card => JSON.parse(card.dataset.facts);
const promptOf = card => $("p", card).textContent;
const WAIT = 80; // milliseconds after a key before thousands of cards are searched
let texts, state = "", current = null, timer = 0;

const counts = new Map([["", cards.length]]);
for (const card of cards) counts.set(card.dataset.state, (counts.get(card.dataset.state) ?? 0) + 1);
for (const [name, count] of counts.size > 2 ? counts : [])
  chips.append(make("button", {"data-state": name, "aria-pressed": String(!name), click: () => choose(name)}, name || "all", " ", make("b", {}, count.toLocaleString())));

function choose(name) {
  state = name;
  for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip.dataset.state === name));
  show();
}

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) texts ??= cards.map(card => `${card.textContent} ${card.dataset.facts}`.toLowerCase());
  let shown = 0;
  cards.forEach((card, i) => {
    const hidden = Boolean(state && card.dataset.state !== state) || !words.every(word => texts[i].includes(word));
    if (card.hidden !== hidden) card.hidden = hidden;
    if (!hidden) shown++;
  });
  for (const group of groups) group.hidden = !$("article:not([hidden])", group);
  if (others) others.hidden = !$(".group:not([hidden])", others);
  $("header output").value = `${shown.toLocaleString()} of ${cards.length.toLocaleString()}`;
  $(".empty").hidden = shown > 0;
}

search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, cards.length > 500 ? WAIT : 0); });
search.addEventListener("search", show);
size.addEventListener("input", () => document.documentElement.style.setProperty("--card", `${size.value}px`));
$(".empty button").addEventListener("click", () => { search.value = ""; choose(""); });

// An image that is not where it was.
addEventListener("error", event => {
  if (!event.target.matches?.(".grid img")) return;
  const file = decodeURIComponent(event.target.getAttribute("src"));
  event.target.replaceWith(make("div", {class: "gone"}, `${file} is not there`));
}, true);

const viewable = () => $$("#images article:not([hidden])").filter(card => $("img", card));

function view(card) {
  const list = viewable(), at = list.indexOf(card), facts = factsOf(card);
  if (at < 0) return;
  current = card;
  stage.classList.remove("full");
  large.src = $("img", card).src;
  large.alt = promptOf(card);
  $("#prompt").textContent = promptOf(card);
  $("#revised").textContent = facts.revised ? `Revised by the model: ${facts.revised}` : "";
  $("#revised").hidden = !facts.revised;
  $("#file").href = large.src;
  fillFacts($("#short"), facts.short);
  fillFacts($("#all"), facts.all);
  $("#place").value = `${at + 1} of ${list.length}`;
  $("#before").disabled = at === 0;
  $("#after").disabled = at === list.length - 1;
  for (const next of [list[at + 1], list[at - 1]]) if (next) new Image().src = $("img", next).src;
  if (!dialog.open) {
    dialog.showModal();
    dialog.focus();
  }
  history.replaceState(null, "", `#${encodeURIComponent(card.id.slice(4))}`);
}

function turn(steps) {
  const list = viewable(), at = list.indexOf(current);
  const card = list[Math.max(0, Math.min(list.length - 1, at + steps))];
  if (card) view(card);
}

const copyPrompt = () => copyText(promptOf(current), "Prompt");
const zoom = () => stage.classList.toggle("full");
$("#images").addEventListener("click", event => {
  const card = event.target.closest("article");
  if (!card || event.ctrlKey || event.metaKey || event.shiftKey || !$("img", card)) return;
  event.preventDefault();
  view(card);
});
others?.addEventListener("click", event => {
  if (event.target.matches("button")) copyText(promptOf(event.target.closest("article")), "Prompt");
});
$("#before").addEventListener("click", () => turn(-1));
$("#after").addEventListener("click", () => turn(1));
$("#close").addEventListener("click", () => dialog.close());
$("#copy").addEventListener("click", copyPrompt);
large.addEventListener("click", zoom);
dialog.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  $("a", current).focus({preventScroll: true});
  current.scrollIntoView({block: "nearest"});
});
dialog.addEventListener("keydown", event => {
  if (isTyping(event)) return;
  const act = {ArrowRight: () => turn(1), ArrowLeft: () => turn(-1), Home: () => turn(-Infinity), End: () => turn(Infinity),
    c: copyPrompt, f: zoom, i: () => dialog.classList.toggle("alone"), p: () => { $("#more").open = !$("#more").open; }}[event.key];
  if (!act || (event.target.matches("summary") && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act();
});
addEventListener("keydown", event => {
  if (dialog.open || isTyping(event)) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
  else if (document.activeElement.matches("#images a")) moveFocus(event, $$("#images article:not([hidden]) > a"));
});
search.addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "Enter") { show(); $("#images article:not([hidden]) > a")?.focus(); event.preventDefault(); }
});

show();
const linked = location.hash && document.getElementById(`job-${decodeURIComponent(location.hash.slice(1))}`);
if (linked) view(linked);
