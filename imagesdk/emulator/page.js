const MOST = 500, PACE = 600, SLOW = 2500; // requests that are shown; milliseconds between questions, and after a failure or a verdict
const IMAGES = /\/images\/(generations|edits|variations)$/;
const records = new Map(); // by number, oldest first
const shown = new Map(); // by number: the card and the row of a record
const dialog = $("dialog"), gallery = $("#gallery"), rows = $("#log tbody"), search = $("input[type=search]"), news = $("#news");
let epoch = null, last = 0, paused = false, view = "gallery", current = null, isJudged = false, judgedAt = 0, generations = null, ticket = 0;

const ask = async (path, options) => {
  const answer = await fetch(path, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error?.message ?? answer.statusText);
  return found;
};
const post = (path, body = {}) =>
  ask(path, {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
const act = (work, done) => work.then(() => { if (done) say(done); return look(); }, error => say(error.message));

const made = record => IMAGES.test(record.path);
const imageOf = (record, index) => `/_emulator/images/${encodeURIComponent(record.id)}/${index}`;
const took = record => record.ended == null ? null : Math.round((record.ended - record.began) * 1000);
const day = seconds => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
const time = seconds => day(seconds).slice(11);
const tone = record => record.status == null ? "warn" : record.status < 400 ? "good" : record.status === 429 ? "warn" : "bad";
const status = record => record.status ?? (record.ended == null ? "…" : "cut");
const notes = record => [
  record.fault && [`fault: ${record.fault}`, "warn"],
  record.error && record.error !== record.fault && [record.error, "bad"],
  record.retry_after != null && [`retry after ${record.retry_after} s`, "warn"],
  record.stream && [`${record.events} events`, ""],
  record.ended != null && record.status != null && !record.complete && ["not read to its end", "warn"],
  record.expired && ["expired URL", "bad"],
].filter(Boolean);
const marks = record => notes(record).map(([text, kind]) => make("span", {class: kind}, text));

function drawCard(record, card) {
  const label = record.prompt || record.path.split("/").pop();
  const source = imageOf(record, record.stream ? record.kept - 1 : 0), before = $("img", card);
  const image = record.kept
    ? before?.getAttribute("src") === source ? before : make("img", {src: source, alt: "", loading: "lazy", decoding: "async"})
    : make("div", {class: "tile"}, make("strong", {class: tone(record)}, String(status(record))), make("span", {}, record.error ?? record.fault ?? ""));
  const facts = [`#${record.number}`, record.model, record.parameters.size, took(record) == null ? "in progress" : `${took(record)} ms`,
    record.kept > 1 && !record.stream ? `${record.kept} images` : null].filter(Boolean).map(text => make("span", {}, text));
  card.replaceChildren(image, make("p", {}, label), make("small", {}, ...facts, ...(record.kept ? marks(record) : [])));
}

function drawRow(record, row) {
  const cells = [record.number, time(record.began), `${record.method} ${record.path}`, record.model ?? "", status(record), took(record) ?? "", ""];
  row.replaceChildren(...cells.map(text => make("td", {}, String(text))));
  row.children[4].className = tone(record);
  row.children[6].append(...marks(record).flatMap((mark, i) => i ? [", ", mark] : [mark]));
}

function update(record) {
  records.set(record.number, record);
  let both = shown.get(record.number);
  if (!both) {
    const open = () => show(record.number);
    const row = make("tr", {tabindex: "0", click: open, keydown: event => { if (event.key === "Enter") open(); }});
    both = {row, card: made(record) ? make("button", {class: "card", click: open}) : null};
    shown.set(record.number, both);
    rows.prepend(row);
    if (both.card) gallery.prepend(both.card);
  }
  drawRow(record, both.row);
  if (both.card) drawCard(record, both.card);
  both.text = [record.prompt, record.model, record.path, record.error, record.fault, record.status, record.idempotency_key].join(" ").toLowerCase();
  if (current === record.number && dialog.open) fill(record);
}

function forget(number) {
  const both = shown.get(number);
  both.row.remove();
  both.card?.remove();
  shown.delete(number);
  records.delete(number);
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = {gallery: 0, log: 0};
  for (const both of shown.values()) {
    const hidden = !words.every(word => both.text.includes(word));
    both.row.hidden = hidden;
    if (both.card) both.card.hidden = hidden;
    if (!hidden) { counts.log++; if (both.card) counts.gallery++; }
  }
  for (const chip of $$("[data-view]")) $("b", chip).textContent = counts[chip.dataset.view].toLocaleString();
  gallery.hidden = view !== "gallery";
  $("#log").hidden = view !== "log" || !counts.log;
  $("#nothing").hidden = shown.size > 0;
  $("#nomatch").hidden = !shown.size || counts[view] > 0;
}

function choose(name) {
  view = name;
  for (const chip of $$("[data-view]")) chip.setAttribute("aria-pressed", String(chip.dataset.view === name));
  filter();
}

function drawLimit(limit) {
  const share = limit ? Math.min(1, limit.limit ? limit.used / limit.limit : 1) : 0, gauge = $("#gauge");
  gauge.hidden = !limit;
  gauge.firstElementChild.style.width = `${share * 100}%`;
  gauge.className = share >= 1 ? "full" : share >= .75 ? "high" : "";
  if (limit) for (const [name, value] of [["min", 0], ["max", limit.limit], ["now", limit.used]]) gauge.setAttribute(`aria-value${name}`, value);
  $("#limit").textContent = limit
    ? `${limit.used} of ${limit.limit} images in ${limit.seconds} s${limit.wait ? `; room for more in ${Math.ceil(limit.wait)} s` : ""}`
    : "No limit";
}

function drawState(data) {
  drawLimit(data.limit);
  $("#billed").textContent = `${data.billed_images === 1 ? "1 image" : `${data.billed_images.toLocaleString()} images`} billed, $${data.dollars}` + (data.open_streams ? `, ${data.open_streams} open streams` : "");
  $("#clock").textContent = `${day(data.now)} UTC`;
  $("#queued").replaceChildren(...data.faults.map(({on, fault}) => make("li", {}, `${fault || "fault"} on ${on}`)));
  $("#clear").hidden = !data.faults.length;
  if (!data.fault_names) return;
  const options = names => names.map(name => make("option", {}, name));
  $("#fault [name=fault]").replaceChildren(...options(["429", "500", "503", ...data.fault_names]));
  $("#fault [name=on]").replaceChildren(...options(data.targets));
  $("#try select").replaceChildren(...options(data.models));
  $("#try select").value = data.models.includes("gpt-image-2") ? "gpt-image-2" : data.models[0] ?? "";
  generations = data.generations;
  $("#try").hidden = !generations;
  $("#base").textContent = location.origin + (generations ?? "").replace(/\/images\/.*/, "");
}

async function judge() {
  const verdict = await ask("/_emulator/verdict");
  const about = make("p", {class: verdict.ok ? "good" : "bad"},
    verdict.ok ? "Nothing found" : verdict.findings.length === 1 ? "1 finding" : `${verdict.findings.length} findings`);
  const findings = verdict.findings.map(one => make("div", {class: "finding"}, make("strong", {}, one.rule), make("p", {}, one.seen),
    make("p", {class: "faint"}, `Expected: ${one.expected}.`), make("p", {class: "faint"}, `Cost: ${one.cost}.`),
    make("p", {class: "row"}, ...one.requests.slice(0, 8).map(number =>
      make("button", {click: () => show(number), "aria-label": `Request ${number}`}, `#${number}`)))));
  $("#verdict").replaceChildren(about, ...findings);
}

async function look() {
  const mine = ++ticket;
  const open = [...records.values()].filter(record => record.ended == null || (record.stream && !record.complete)).map(record => record.number).slice(-100);
  const data = await ask(`/_emulator/page?after=${last}&open=${open}`);
  if (mine !== ticket) return; // a later question was answered
  if (epoch !== null && data.epoch !== epoch) {
    [...shown.keys()].forEach(forget);
    [epoch, last, isJudged] = [data.epoch, 0, false];
    if (dialog.open) dialog.close();
    return look();
  }
  epoch = data.epoch;
  data.requests.forEach(update);
  last = Math.max(last, ...data.requests.map(record => record.number));
  while (records.size > MOST) forget(Math.min(...records.keys()));
  drawState(data);
  if (data.requests.length || !isJudged) filter();
  isJudged &&= !data.requests.length;
  if (!isJudged && Date.now() - judgedAt > SLOW) { // it reads the whole log
    [isJudged, judgedAt] = [true, Date.now()];
    await judge();
  }
}

async function watch() {
  let wait = PACE;
  try {
    if (!paused && !document.hidden) await look();
    news.className = paused ? "paused" : "";
    news.value = paused ? "paused" : "live";
  } catch {
    [news.className, news.value, wait] = ["bad", "no answer", SLOW];
  }
  setTimeout(watch, wait);
}

const listed = () => [...records.values()].filter(record => !shown.get(record.number)[view === "gallery" ? "card" : "row"]?.hidden && (view === "log" || made(record))).reverse();

function show(number) {
  const record = records.get(number);
  if (!record) return say(`Request ${number} is not kept any more`);
  current = number;
  fill(record);
  if (!dialog.open) {
    dialog.showModal();
    dialog.focus();
  }
}

const lines = pairs => pairs.filter(([, value]) => value != null && value !== "").map(([name, value]) => `${name}: ${value}`).join("\n");

async function fill(record) {
  const list = listed(), at = list.indexOf(record);
  $("#place").value = at < 0 ? `#${record.number}` : `#${record.number}, ${at + 1} of ${list.length}`;
  $("#before").disabled = at <= 0;
  $("#after").disabled = at < 0 || at === list.length - 1;
  $("#prompt").textContent = record.prompt ?? "";
  for (const button of [$("#copy"), $("#curl")]) button.hidden = button.id === "copy" ? !record.prompt : Boolean(record.images.length);
  dialog.classList.toggle("text", !record.kept);
  const first = record.stream ? record.kept - 1 : 0;
  const choices = Array.from({length: record.kept}, (_, i) => make("button", {"aria-label": `Image ${i + 1}`, "aria-pressed": String(i === first),
    click: event => enlarge(record, i, event.currentTarget)}, make("img", {src: imageOf(record, i), alt: ""})));
  $("#strip").replaceChildren(...(choices.length > 1 ? choices : []));
  if (record.kept) enlarge(record, first);
  const files = record.images.map(file => `${file.field}: ${file.filename}, ${file.media_type}, ${file.size} bytes, SHA-256 ${file.sha256.slice(0, 16)}…`);
  $("#request").textContent = [`${record.method} ${record.path}`, lines([["at", time(record.began)], ["user-agent", record.user_agent],
    ["idempotency-key", record.idempotency_key], ["key", record.authorized ? "sent" : "none"], ["connection", record.connection]]),
    Object.keys(record.parameters).length ? JSON.stringify(record.parameters, null, 2) : "", files.join("\n")].filter(Boolean).join("\n\n");
  const about = [`${status(record)}${took(record) == null ? "" : ` after ${took(record)} ms`}`,
    [...notes(record).map(([text]) => text), record.billed ? `billed: ${record.billed} of ${record.n} images` : null].filter(Boolean).join("\n")];
  $("#response").textContent = about.filter(Boolean).join("\n\n");
  try {
    const answer = await ask(`/_emulator/answers/${encodeURIComponent(record.id)}`);
    const text = pretty(answer.text);
    if (current === record.number) $("#response").textContent = [...about, lines(Object.entries(answer.headers)), text].filter(Boolean).join("\n\n");
  } catch { /* not kept any more, or there was none */ }
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function enlarge(record, index, button) {
  const large = $("#stage > img"), source = imageOf(record, index);
  if (large.getAttribute("src") !== source) large.src = source;
  large.alt = record.prompt ?? "";
  for (const other of $$("#strip button")) if (button) other.setAttribute("aria-pressed", String(other === button));
}

function turn(steps) {
  const list = listed(), at = list.indexOf(records.get(current));
  const next = list[Math.max(0, Math.min(list.length - 1, at + steps))];
  if (at >= 0 && next) show(next.number);
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
function curl(record) {
  const body = Object.keys(record.parameters).length ? ` -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(record.parameters))}` : "";
  return `curl -X ${record.method} ${quoted(location.origin + record.path)}${body}`;
}

const copyPrompt = () => { if (records.get(current)?.prompt) copyText(records.get(current).prompt, "Prompt"); };
$("#copy").addEventListener("click", copyPrompt);
$("#curl").addEventListener("click", () => copyText(curl(records.get(current)), "Command"));
$("#before").addEventListener("click", () => turn(-1));
$("#after").addEventListener("click", () => turn(1));
$("#close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => { const both = shown.get(current); (view === "gallery" ? both?.card : both?.row)?.focus(); });
search.addEventListener("input", filter);
for (const chip of $$("[data-view]")) chip.addEventListener("click", () => choose(chip.dataset.view));

function pause() {
  paused = !paused;
  $("#pause").setAttribute("aria-pressed", String(paused));
  news.className = paused ? "paused" : "";
  news.value = paused ? "paused" : "live";
}
$("#pause").addEventListener("click", pause);
for (const button of $$("[data-advance]"))
  button.addEventListener("click", () => act(post("/_emulator/clock", {advance: Number(button.dataset.advance)}), `${button.textContent}`));
$("#fault").addEventListener("submit", event => {
  event.preventDefault();
  const given = new FormData(event.target), wait = given.get("retry_after"), name = given.get("fault");
  const fault = {fault: /^\d+$/.test(name) ? Number(name) : name, on: given.get("on"), times: Number(given.get("times"))};
  act(post("/_emulator/faults", wait === "" ? fault : {...fault, retry_after: Number(wait)}), "Queued");
});
$("#clear").addEventListener("click", () => act(ask("/_emulator/faults", {method: "DELETE"}), "Cleared"));
$("#try").addEventListener("submit", event => {
  event.preventDefault();
  const prompt = $("#try input").value, model = $("#try select").value;
  fetch(generations, {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({prompt, model})})
    .then(answer => answer.blob(), () => null).then(() => look()).catch(() => {});
});
$("#reset").addEventListener("click", event => {
  const button = event.target;
  if (!button.classList.toggle("sure")) return act(post("/_emulator/reset"), "Reset").then(() => { button.textContent = "Reset"; });
  button.textContent = "Really?";
  setTimeout(() => { button.classList.remove("sure"); button.textContent = "Reset"; }, 4000);
});

dialog.addEventListener("keydown", event => {
  if (isTyping(event)) return;
  const wanted = {ArrowRight: () => turn(1), ArrowLeft: () => turn(-1), c: copyPrompt}[event.key];
  if (wanted) { event.preventDefault(); wanted(); }
});
addEventListener("keydown", event => {
  if (dialog.open || isTyping(event)) return;
  const wanted = {"/": () => { search.focus(); search.select(); }, 1: () => choose("gallery"), 2: () => choose("log"), p: pause}[event.key];
  if (wanted) { event.preventDefault(); wanted(); }
  else if (document.activeElement.matches(".card")) moveFocus(event, $$(".card:not([hidden])", gallery));
  else if (document.activeElement.matches("tbody tr")) moveFocus(event, $$("tr:not([hidden])", rows));
});
filter();
watch();
