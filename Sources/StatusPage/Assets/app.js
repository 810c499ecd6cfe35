// The page of the controller. It reads a snapshot, follows the events, and draws; it changes nothing anywhere.
// Names, words and messages come from outside: they become text nodes, never markup.

import { replicasChart, sparkline, svg } from "/charts.js";

const $ = (id) => document.getElementById(id);
const PAGE_SIZE = 20;
const WORKERS_SHOWN = 25;
const DECISIONS_SHOWN = 10;
const DECISIONS_KEPT = 200;
// The server sends something every 10 seconds; silence for longer means that the connection is dead without saying so.
const SILENCE = 25000;

const SERIES = [
  { key: "allowed", label: "Budget allows", area: "above" },
  { key: "current", label: "Workers", area: "below", isFleet: true },
  { key: "demand", label: "Demand asks" },
  { key: "desired", label: "Decided", isFleet: true },
];
const LEGEND = ["current", "demand", "allowed", "desired"];
const COLUMNS = ["current", "ready", "desired", "demand", "allowed", "inFlight"];

const STEPS = {
  disabled: ["switched off", ""], pause: ["paused", "warn"], bounds: ["bounds", ""], demand: ["demand", "good"],
  unknownMetric: ["unknown metric", "bad"], ceiling: ["API budget", "warn"], marginalGain: ["no gain", "warn"],
  capacity: ["no room in the cluster", "bad"], workInFlight: ["work in flight", ""], minimum: ["minReplicas", ""],
  maximum: ["maxReplicas", "warn"], stabilization: ["stabilisation", ""], settling: ["fresh samples", ""],
  ratePolicy: ["rate policy", ""], drain: ["drain", "accent"], contest: ["another writer", "bad"],
};
const DIMENSIONS = {
  requests: "Requests", inputTokens: "Input tokens", inputTokensTotal: "Input tokens with cache reads",
  outputTokens: "Output tokens",
};

const state = {
  fleets: new Map(), budgets: [], decisions: [], leadership: null, coordinator: false, truncated: false,
  cursor: null, offset: 0, chosen: null, points: emptyPoints(), budgetPoints: new Map(), workers: undefined,
  fleetDecisions: [], words: null, span: 900, scope: "fleet", page: 0, decisionsShown: DECISIONS_SHOWN,
  allWorkers: false, filter: { name: "", namespace: "", state: "" }, decisionOpen: null,
};

function emptyPoints() {
  return Object.fromEntries(["at", ...COLUMNS].map((name) => [name, []]));
}

// MARK: Small things

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
/** Text from outside without characters that steer the direction of what stands around them, or that can't be seen. */
const plain = (text) => text.replace(/[\u0000-\u0008\u000e-\u001f\u007f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
/** A name from outside, in a direction of its own. */
const name = (text) => h("bdi", {}, plain(text));
const setText = (element, text) => { text = plain(text); if (element.textContent !== text) element.textContent = text; };
const idOf = (fleet) => `${fleet.namespace}/${fleet.name}`;
const now = () => (Date.now() + state.offset) / 1000;
const time = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const whole = new Intl.NumberFormat([], { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const count = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;
const orDash = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** Words of the controller with their moments (RFC 3339, UTC) as times of this browser. */
const local = (words) => words.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (text) => time(Date.parse(text)));

/** Words as a sentence. */
const sentence = (words) => `${words.charAt(0).toUpperCase()}${local(words.slice(1))}${/[.!?]$/.test(words) ? "" : "."}`;

function age(seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
}

/** Makes the children of `parent` those of `items`, in order, and keeps elements (and the focus) of known keys. */
function keyed(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = old.get(key);
    if (element) old.delete(key);
    else { element = create(item); element.dataset.key = key; }
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const rest of old.values()) rest.remove();
}

function tag(element, text, tone) {
  setText(element, text);
  if (tone) element.dataset.tone = tone; else delete element.dataset.tone;
}
function stepWords(item) {
  if (item.troubled || item.trouble) return ["in trouble", "bad"];
  return STEPS[item.step] ?? [item.step ?? "not decided yet", ""];
}

// MARK: Data

async function get(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  let message = `${response.status}`;
  try { message = (await response.json()).error.message; } catch { /* The number must do. */ }
  throw Object.assign(new Error(message), { status: response.status });
}

async function load() {
  const data = await get("/api/v1/fleets");
  Object.assign(state, {
    fleets: new Map(data.fleets.map((fleet) => [idOf(fleet), fleet])), budgets: data.budgets,
    decisions: data.decisions, leadership: data.leadership, coordinator: data.coordinator,
    truncated: data.truncated, cursor: data.cursor, offset: data.nowMilliseconds - Date.now(),
  });
  setText($("foot"), `${data.program} · ${data.instance}`);
  const wanted = fleetInHash();
  if (wanted && state.fleets.has(wanted)) state.chosen = wanted;
  if (!state.fleets.has(state.chosen)) state.chosen = firstFleet();
  await loadFleet();
}

/** A fleet that is worth looking at: one that is held back or in trouble, else the first. */
function firstFleet() {
  const all = [...state.fleets.values()];
  const best = all.find((fleet) => fleet.troubled || fleet.step === "ceiling") ?? all[0];
  return best ? idOf(best) : null;
}

async function loadFleet() {
  const chosen = state.chosen;
  if (!chosen) return;
  const fleet = state.fleets.get(chosen);
  const path = `/api/v1/fleets/${encodeURIComponent(fleet.namespace)}/${encodeURIComponent(fleet.name)}`;
  const data = await get(path);
  if (state.chosen !== chosen) return;
  Object.assign(state, {
    points: data.points, words: data.words, workers: data.workers, fleetDecisions: data.decisions,
    budgetPoints: new Map(data.budgets.map((budget) => [budget.name, budget.points])), budgets: data.budgets,
  });
  state.fleets.set(chosen, data.fleet);
}

function apply(update) {
  if (update.leadership) state.leadership = update.leadership;
  for (const [namespace, fleetName] of update.gone) state.fleets.delete(`${namespace}/${fleetName}`);
  for (const fleet of update.fleets) {
    state.fleets.set(idOf(fleet), fleet);
    if (idOf(fleet) === state.chosen) addPoint(fleet);
  }
  // Newest first in both; an event that is told twice after a reconnection counts once.
  const known = new Set(state.decisions.map((decision) => decision.id));
  const fresh = update.decisions.filter((decision) => !known.has(decision.id));
  if (fresh.length > 0) {
    state.decisions = [...fresh, ...state.decisions].slice(0, DECISIONS_KEPT);
    const own = fresh.filter((decision) => idOf(decision) === state.chosen);
    state.fleetDecisions = [...own, ...state.fleetDecisions].slice(0, DECISIONS_KEPT);
    if (own.length > 0) state.words = own[0].words;
    tell(own[0] ?? (state.fleets.size <= 5 ? fresh[0] : null));
  }
  if (!state.fleets.has(state.chosen)) choose(firstFleet());
}

function addPoint(fleet) {
  const { points } = state;
  const last = points.at.length - 1;
  const same = last >= 0 && COLUMNS.every((column) => points[column][last] === fleet[column]);
  if (fleet.at === points.at[last] || fleet.current === null) return;
  if (same && fleet.at - points.at[last] < 60) return;
  points.at.push(fleet.at);
  for (const column of COLUMNS) points[column].push(fleet[column]);
  trim(points, fleet.at - 6 * 3600);
}

function addBudgetPoints(budgets) {
  state.budgets = budgets;
  for (const budget of budgets) {
    let points = state.budgetPoints.get(budget.name);
    if (!points) {
      points = Object.fromEntries(["at", ...Object.keys(DIMENSIONS), "rejected", "waitCentiseconds", "waiting"].map((n) => [n, []]));
      state.budgetPoints.set(budget.name, points);
    }
    const last = points.at[points.at.length - 1] ?? 0;
    if (budget.at - last < 5) continue;
    points.at.push(budget.at);
    for (const key of Object.keys(DIMENSIONS)) {
      points[key].push(budget.dimensions.find((d) => d.name === key)?.utilizationPermille ?? null);
    }
    points.rejected.push(budget.rejectedForRate + budget.rejectedForRamp);
    points.waitCentiseconds.push(budget.waitP95Milliseconds === null ? null : Math.ceil(budget.waitP95Milliseconds / 10));
    points.waiting.push(budget.waiting);
    trim(points, budget.at - 6 * 3600);
  }
}

function trim(points, oldest) {
  let surplus = 0;
  while (surplus + 1 < points.at.length && points.at[surplus + 1] < oldest) surplus++;
  surplus = Math.max(surplus, points.at.length - 3000);
  if (surplus > 0) for (const values of Object.values(points)) values.splice(0, surplus);
}

/** Says the newest decision to a screen reader, not more often than one can listen to. */
let lastTold = 0;
function tell(decision) {
  if (!decision || Date.now() - lastTold < 10000) return;
  lastTold = Date.now();
  setText($("news"), local(decision.words));
}

// MARK: Connection

let source = null;
let lastHeard = 0;
let retryAt = 0;
let failures = 0;
let isStarting = false;

async function start() {
  if (isStarting) return;
  isStarting = true;
  stop();
  try {
    await load();
    renderAll();
    connect();
  } catch (error) {
    lose(error.message);
  }
  isStarting = false;
}

function stop() {
  if (source) source.close();
  source = null;
}

function connect() {
  stop();
  const query = new URLSearchParams({ after: state.cursor ?? "" });
  if (state.chosen) query.set("fleet", state.chosen);
  source = new EventSource(`/api/v1/events?${query}`);
  const heard = (event) => {
    lastHeard = Date.now();
    if (event.lastEventId) state.cursor = event.lastEventId;
    failures = 0;
    setLive();
  };
  source.addEventListener("open", () => { lastHeard = Date.now(); setLive(); });
  source.addEventListener("beat", heard);
  source.addEventListener("update", (event) => { heard(event); apply(JSON.parse(event.data)); schedule(); });
  source.addEventListener("detail", (event) => {
    heard(event);
    const detail = JSON.parse(event.data);
    if (idOf(detail) !== state.chosen) return;
    state.workers = detail.workers;
    addBudgetPoints(detail.budgets);
    schedule();
  });
  source.addEventListener("reset", (event) => { heard(event); reload(); });
  source.addEventListener("error", () => {
    // A browser tries again by itself unless the server has refused; then it is on us.
    if (source && source.readyState === EventSource.CLOSED) lose("the server refused");
    else lose("", false);
  });
}

/** What was missed isn't known: everything is read anew, and the stream stays. */
async function reload() {
  try {
    const before = state.chosen;
    await load();
    renderAll();
    if (state.chosen !== before) connect();
  } catch (error) {
    lose(error.message);
  }
}

function setLive() {
  $("live").dataset.state = "live";
  setText($("live-text"), "Live");
  $("lost").hidden = true;
  retryAt = 0;
}

function lose(why, isOurs = true) {
  $("live").dataset.state = "lost";
  setText($("live-text"), "Not live");
  $("lost").hidden = false;
  if (isOurs) {
    stop();
    failures += 1;
    retryAt = Date.now() + Math.min(30000, 1000 * 2 ** Math.min(failures, 5));
  }
  showLost(why);
}

function showLost(why = "") {
  const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const again = retryAt > 0 ? `Trying again in ${left} s.` : "Trying again.";
  setText($("lost-text"), `Connection lost${why ? ` (${why})` : ""}; what you see is from ${time((lastHeard || Date.now()) + state.offset)}. ${again}`);
}

setInterval(() => {
  if (retryAt > 0) {
    if (Date.now() >= retryAt) { retryAt = 0; start(); } else showLost();
  } else if (source && lastHeard > 0 && Date.now() - lastHeard > SILENCE) {
    lose("silence");
  }
  if (!document.hidden) tick();
}, 1000);

// MARK: Choosing

function fleetInHash() {
  const parts = location.hash.slice(1).split("/");
  if (parts[0] !== "fleet" || parts.length !== 3) return null;
  try { return `${decodeURIComponent(parts[1])}/${decodeURIComponent(parts[2])}`; } catch { return null; }
}
const decisionInHash = () => (location.hash.startsWith("#decision/") ? location.hash.slice("#decision/".length) : null);
const fleetHash = (fleet) => `#fleet/${encodeURIComponent(fleet.namespace)}/${encodeURIComponent(fleet.name)}`;

async function choose(id) {
  state.chosen = id;
  state.decisionsShown = DECISIONS_SHOWN;
  state.allWorkers = false;
  state.points = emptyPoints();
  state.budgetPoints = new Map();
  state.workers = undefined;
  state.fleetDecisions = [];
  state.words = null;
  if (!id) { renderAll(); return; }
  try {
    await loadFleet();
    if (state.chosen !== id) return;
    renderAll();
    showDetail();
    connect();
  } catch (error) {
    if (error.status === 404) reload(); else lose(error.message);
  }
}

/** Brings the chosen fleet into view where a long list of fleets has pushed it out. */
function showDetail() {
  if ($("detail").getBoundingClientRect().top > innerHeight * 0.7) $("detail-title").scrollIntoView({ block: "start" });
}

addEventListener("hashchange", () => {
  const decision = decisionInHash();
  if (decision) { openDecision(decision); return; }
  if ($("dialog").open) $("dialog").close();
  const wanted = fleetInHash();
  if (wanted && wanted !== state.chosen && state.fleets.has(wanted)) choose(wanted);
});

// MARK: Drawing

let isScheduled = false;
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => { isScheduled = false; renderAll(); });
}

function renderAll() {
  renderLeadership();
  renderFleets();
  renderDetail();
}

/** What moves with the clock alone. */
function tick() {
  for (const element of document.querySelectorAll("[data-since]")) setText(element, age(now() - Number(element.dataset.since)));
  if (Math.floor(now()) % 5 === 0 && state.chosen && state.hovered == null) renderCharts();
}

function renderLeadership() {
  const leads = state.leadership?.isLeader ?? true;
  const holder = state.leadership?.holder ?? "";
  setText($("who"), leads ? "This controller leads" : "Stands by");
  $("standby").hidden = leads;
  if (leads) return;
  const pod = holder.replace(/_[0-9]+$/, "");
  $("standby-text").replaceChildren(
    ...(holder ? ["The leader is ", h("strong", {}, name(pod)), ". Only the leader decides and remembers, so its page has the fleets:"]
      : ["Nobody leads at the moment; an election takes a few seconds. The leader's page has the fleets."]));
  $("standby-command").hidden = !holder;
  setText($("standby-command"), `kubectl -n swarmscale-system port-forward pod/${pod} 8080`);
}

function matches(fleet) {
  const { filter } = state;
  if (filter.name && !idOf(fleet).toLowerCase().includes(filter.name)) return false;
  if (filter.namespace && fleet.namespace !== filter.namespace) return false;
  if (filter.state === "limited") return fleet.limited;
  if (filter.state === "troubled") return fleet.troubled;
  if (filter.state === "changing") return fleet.desired !== fleet.current;
  return true;
}

function renderFleets() {
  const leads = state.leadership?.isLeader ?? true;
  const all = [...state.fleets.values()].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  $("no-fleets").hidden = !leads || all.length > 0;
  $("fleets").hidden = all.length === 0;
  $("filters").hidden = all.length <= 8;
  const workers = all.reduce((sum, fleet) => sum + (fleet.current ?? 0), 0);
  setText($("fleets-count"), `${count(all.length, "fleet")} · ${count(workers, "worker")}${state.truncated ? " · more exist than this page follows" : ""}`);
  renderNamespaces(all);
  const found = all.filter(matches);
  const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
  state.page = Math.min(state.page, pages - 1);
  const shown = found.slice(state.page * PAGE_SIZE, (state.page + 1) * PAGE_SIZE);
  keyed($("fleet-rows"), shown, idOf, fleetRow, updateFleetRow);
  $("fleets-none").hidden = found.length > 0;
  $("pager").hidden = pages === 1;
  setText($("page-text"), `${state.page * PAGE_SIZE + 1}–${state.page * PAGE_SIZE + shown.length} of ${whole.format(found.length)}`);
  $("page-back").disabled = state.page === 0;
  $("page-on").disabled = state.page === pages - 1;
}

function renderNamespaces(all) {
  const names = [...new Set(all.map((fleet) => fleet.namespace))].sort();
  const select = $("filter-namespace");
  const old = [...select.options].slice(1).map((option) => option.value);
  if (old.length === names.length && old.every((value, index) => value === names[index])) return;
  select.replaceChildren(new Option("All", ""), ...names.map((value) => new Option(value, value)));
  select.value = names.includes(state.filter.namespace) ? state.filter.namespace : "";
  state.filter.namespace = select.value;
}

function fleetRow(fleet) {
  const link = h("a", { href: fleetHash(fleet) }, name(fleet.name));
  const row = h("tr", {},
    h("td", {}, link, h("span", { class: "sub" }, name(fleet.namespace))),
    h("td", { class: "num" }, h("span", { class: "big" }), h("span", { class: "goal" })),
    h("td", { class: "num wide" }), h("td", { class: "num wide" }),
    h("td", { class: "wide" }, h("span", { class: "range" })), h("td", {}, h("span", { class: "tag" })));
  row.addEventListener("click", (event) => { if (!event.target.closest("a")) link.click(); });
  return row;
}

function updateFleetRow(row, fleet) {
  const [first, workers, demand, allowed, range, step] = row.children;
  row.dataset.chosen = idOf(fleet) === state.chosen;
  const link = first.firstElementChild;
  if (idOf(fleet) === state.chosen) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  setText(workers.children[0], orDash(fleet.current));
  setText(workers.children[1], fleet.desired !== null && fleet.desired !== fleet.current ? ` → ${whole.format(fleet.desired)}` : "");
  setText(demand, orDash(fleet.demand));
  setText(allowed, fleet.allowed === null && fleet.current !== null ? "no limit" : orDash(fleet.allowed));
  allowed.classList.toggle("muted", fleet.allowed === null);
  updateRange(range.firstElementChild, fleet);
  tag(step.firstElementChild, fleet.dryRun ? `${stepWords(fleet)[0]} (dry run)` : stepWords(fleet)[0], stepWords(fleet)[1]);
}

function updateRange(box, fleet) {
  const text = `${fleet.min} ${fleet.max} ${fleet.current}`;
  if (box.dataset.text === text) return;
  box.dataset.text = text;
  if (fleet.min === null) { box.replaceChildren("–"); return; }
  const width = fleet.max > 0 ? Math.min(1, (fleet.current ?? 0) / fleet.max) * 72 : 0;
  box.replaceChildren(whole.format(fleet.min), svg("svg", { width: 72, height: 6, "aria-hidden": "true" },
    svg("rect", { width: 72, height: 6, rx: 3, class: "track" }), svg("rect", { width, height: 6, rx: 3, class: "fill" })),
    whole.format(fleet.max));
}

function renderDetail() {
  const fleet = state.fleets.get(state.chosen);
  $("detail").hidden = !fleet;
  if (!fleet) return;
  if ($("detail-title").dataset.key !== idOf(fleet)) {
    $("detail-title").dataset.key = idOf(fleet);
    $("detail-title").replaceChildren(name(fleet.name));
    document.title = `${plain(fleet.name)} · Swarmscale`;
  }
  $("detail-target").replaceChildren(name(fleet.namespace), fleet.target ? " · " : "", name(fleet.target));
  setText($("detail-words"), state.words ? sentence(state.words) : "No decision since this page's memory began.");
  renderCharts();
  renderDecisions();
  renderWorkers();
}

function renderCharts() {
  const fleet = state.fleets.get(state.chosen);
  if (!fleet) return;
  if (state.hovered == null) renderReplicas(fleet);
  renderBudgets();
}

function renderReplicas(fleet) {
  const { points } = state;
  const latest = points.at.length - 1;
  showLegend(latest, null);
  const label = `Workers over time: ${orDash(fleet.current)} workers now, demand asks for ${orDash(fleet.demand)}, `
    + `the budget allows ${fleet.allowed === null ? "any number" : whole.format(fleet.allowed)}, decided ${orDash(fleet.desired)}. The numbers stand in the table below.`;
  replicasChart($("replicas-chart"), points, {
    span: state.span, now: now(), series: SERIES,
    // Of a fleet in trouble nothing is known since its last point.
    end: fleet.troubled && latest >= 0 ? points.at[latest] : now(), max: fleet.max, label,
    hover: (index, at) => { state.hovered = index; showLegend(index ?? points.at.length - 1, index === null ? null : at); },
  });
  renderTable(points);
}

function showLegend(index, at) {
  const items = LEGEND.map((key) => SERIES.find((s) => s.key === key));
  keyed($("legend"), [...items, { key: "when" }], (item) => item.key, (item) => (item.key === "when"
    ? h("div", { class: "when" }, h("dt", {}, "At"), h("dd", {}))
    : h("div", {}, h("dt", {}, swatch(item), item.label), h("dd", {}))), (element, item) => {
    const value = item.key === "when" ? (at === null ? "now" : time(at * 1000))
      : index < 0 ? "–" : item.key === "allowed" && state.points.allowed[index] === null ? "any" : orDash(state.points[item.key][index]);
    setText(element.lastElementChild, value);
  });
}

function swatch(item) {
  const box = svg("svg", { width: 22, height: 10, "aria-hidden": "true" });
  if (item.area === "below") box.append(svg("rect", { x: 0, y: 5, width: 22, height: 5, class: `area ${item.key}` }));
  box.append(svg("path", { d: "M1 5H21", class: `line ${item.key}` }));
  return box;
}

function renderTable(points) {
  const details = $("replicas-table").closest("details");
  if (!details.open) return;
  const heads = ["Time", "Workers", "Ready", "Demand asks", "Budget allows", "Decided", "Work in flight"];
  const columns = ["current", "ready", "demand", "allowed", "desired", "inFlight"];
  const rows = [];
  for (let i = points.at.length - 1; i >= Math.max(0, points.at.length - 60); i--) {
    rows.push(h("tr", {}, h("th", { scope: "row" }, time(points.at[i] * 1000)),
      ...columns.map((column) => h("td", { class: "num" }, column === "allowed" && points[column][i] === null ? "any" : orDash(points[column][i])))));
  }
  $("replicas-table").replaceChildren(h("table", {}, h("caption", { class: "visually-hidden" }, "Workers over time, newest first"),
    h("thead", {}, h("tr", {}, ...heads.map((head, i) => h("th", { scope: "col", class: i > 0 ? "num" : null }, head)))), h("tbody", {}, ...rows)));
}

// MARK: Budgets

function renderBudgets() {
  const fleet = state.fleets.get(state.chosen);
  const own = state.budgets.filter((budget) => budget.namespace === fleet.namespace);
  const box = $("budgets");
  if (own.length === 0) {
    const words = state.coordinator
      ? ["No ", h("code", {}, "APIBudget"), " in this namespace has been used. A budget holds the fleets that share an API's rate limit within it; an ", h("code", {}, "APIRate"), " metric names it."]
      : ["This controller coordinates no workers, so it knows no API budget. Start it with ", h("code", {}, "--coordinator-listen"), "."];
    if (!box.querySelector(".empty")) box.replaceChildren(h("p", { class: "empty" }, ...words));
    return;
  }
  box.querySelector(":scope > .empty")?.remove();
  keyed(box, own, (budget) => budget.name, budgetCard, updateBudget);
}

function budgetCard(budget) {
  return h("div", { class: "budget" }, h("div", { class: "budget-head" }, name(budget.name), h("span", { class: "tag" })),
    h("p", { class: "budget-note" }), h("div", { class: "measures" }),
    h("div", { class: "pair" }, measure(), measure()), h("p", { class: "facts" }));
}
function measure() {
  return h("div", { class: "measure" }, h("div", { class: "measure-head" }, h("span", { class: "label" }), h("span", { class: "value" })),
    h("div", { class: "spark-box" }), h("p", { class: "sub" }));
}

function updateBudget(card, budget) {
  const [head, note, measures, pair, facts] = card.children;
  const points = state.budgetPoints.get(budget.name) ?? { at: [], rejected: [], waitCentiseconds: [] };
  const status = budget.standing ? ["stopped", "bad"] : budget.learning ? ["learning limits", "accent"] : budget.waiting > 0 ? ["requests wait", "warn"] : ["within limits", "good"];
  tag(head.lastElementChild, ...status);
  note.hidden = !budget.standing;
  setText(note, budget.standing ?? "");
  keyed(measures, budget.dimensions, (dimension) => dimension.name, measure, (element, dimension) => updateDimension(element, dimension, points));
  const rejected = budget.rejectedForRate + budget.rejectedForRamp;
  updateMeasure(pair.children[0], {
    label: "429 answers", value: `${whole.format(rejected)} / min`, tone: rejected > 0 ? "bad" : "", points, key: "rejected", kind: "rejected", floor: 4,
    text: budget.rejectedForRamp > 0 ? `${whole.format(budget.rejectedForRamp)} for the speed of growth` : "in the last minute",
  });
  const wait = budget.waitP95Milliseconds;
  updateMeasure(pair.children[1], {
    label: "Queue wait", value: wait === null ? "–" : wait < 1000 ? `${whole.format(wait)} ms` : `${(wait / 1000).toFixed(1)} s`, tone: "",
    points, key: "waitCentiseconds", kind: "wait", floor: 100, text: `95th percentile · ${whole.format(budget.waiting)} wait`,
  });
  const spent = budget.dailyLimitMicroUSD === null ? `${money.format(budget.spentTodayMicroUSD / 1e6)} today`
    : `${money.format(budget.spentTodayMicroUSD / 1e6)} of ${money.format(budget.dailyLimitMicroUSD / 1e6)} today`;
  keyed(facts, [count(budget.clients, "client"), spent, ...(budget.overloaded > 0 ? [`${budget.overloaded} × 529 in the last minute`] : [])].map((text, i) => ({ i, text })),
    (fact) => String(fact.i), () => h("span"), (element, fact) => setText(element, fact.text));
}

function updateDimension(element, dimension, points) {
  const percent = dimension.utilizationPermille / 10;
  const label = DIMENSIONS[dimension.name] ?? dimension.name;
  const tone = percent > dimension.upperPercent ? "bad" : "";
  updateMeasure(element, {
    label, value: `${percent.toFixed(percent < 10 ? 1 : 0)} %`, tone, points, key: dimension.name, kind: "use", floor: 1000,
    band: { lower: dimension.lowerPercent * 10, upper: dimension.upperPercent * 10 },
    text: `${compact.format(dimension.admitted)} of ${compact.format(dimension.limit)} / min${dimension.waiting > 0 ? ` · ${compact.format(dimension.waiting)} wait` : ""}`
      + `${dimension.foreign > 0 ? ` · ${compact.format(dimension.foreign)} by others` : ""} · band ${dimension.lowerPercent}–${dimension.upperPercent} %`,
  });
  const value = element.querySelector(".value");
  value.setAttribute("role", "meter");
  value.setAttribute("aria-label", label);
  value.setAttribute("aria-valuemin", "0");
  value.setAttribute("aria-valuemax", String(Math.max(100, Math.ceil(percent))));
  value.setAttribute("aria-valuenow", String(percent));
  value.setAttribute("aria-valuetext", `${percent.toFixed(0)} percent of the limit; the band is ${dimension.lowerPercent} to ${dimension.upperPercent}`);
}

function updateMeasure(element, { label, value, tone, points, key, kind, band, floor, text }) {
  const [head, box, sub] = element.children;
  setText(head.firstElementChild, label);
  setText(head.lastElementChild, value);
  if (tone) head.lastElementChild.dataset.tone = tone; else delete head.lastElementChild.dataset.tone;
  setText(sub, text);
  sparkline(box, points, key, { span: state.span, now: now(), band, floor, kind, label: `${label} over time: ${value} now${band ? `, band ${band.lower / 10} to ${band.upper / 10} percent` : ""}` });
}

// MARK: Decisions

function renderDecisions() {
  const list = state.scope === "fleet" ? state.fleetDecisions : state.decisions;
  const shown = list.slice(0, state.decisionsShown);
  const first = $("decisions").childElementCount === 0;
  keyed($("decisions"), shown, (decision) => decision.id, (decision) => decisionItem(decision, !first), () => {});
  $("decisions-more").hidden = list.length <= state.decisionsShown;
  $("decisions-none").hidden = list.length > 0;
  setText($("decisions-none"), "Each change of size and each change of the reasons stands here in words. A fleet that holds for the same reasons adds nothing.");
}

/** The head of a decision and its reasons: the words of a log line, split at its first colon. */
function headline(decision) {
  const words = local(decision.words);
  if (decision.trouble) return ["Trouble", words];
  const place = words.indexOf(": ");
  return place < 0 ? [words, ""] : [words.slice(0, place), words.slice(place + 2)];
}

function decisionItem(decision, isFresh) {
  const [head, why] = headline(decision);
  const mark = h("span", { class: "tag" });
  tag(mark, ...stepWords(decision));
  const moment = h("time", { datetime: new Date(decision.atMilliseconds).toISOString() }, time(decision.atMilliseconds));
  return h("li", { class: isFresh ? "fresh" : null }, h("a", { href: `#decision/${encodeURIComponent(decision.id)}` }, moment,
    h("span", { class: "head" }, name(head[0].toUpperCase() + head.slice(1)), mark), h("span", { class: "why" }, name(why))));
}

async function openDecision(id) {
  state.decisionOpen = id;
  const dialog = $("dialog");
  const known = state.decisions.concat(state.fleetDecisions).find((decision) => decision.id === id);
  showDecision(known ?? null, null);
  if (!dialog.open) dialog.showModal();
  try {
    const full = await get(`/api/v1/decisions/${encodeURIComponent(id)}`);
    if (state.decisionOpen === id) showDecision(full, full);
  } catch (error) {
    if (state.decisionOpen === id) $("dialog-body").replaceChildren(h("p", { class: "empty" }, `Its record can't be shown: ${error.message}.`));
  }
  $("dialog-title").focus();
}

function showDecision(decision, full) {
  if (!decision) {
    $("dialog-meta").replaceChildren();
    setText($("dialog-title"), "A decision");
    $("dialog-body").replaceChildren(h("p", { class: "empty" }, "Reading its record."));
    return;
  }
  const [head] = headline(decision);
  $("dialog-title").replaceChildren(name(head[0].toUpperCase() + head.slice(1)));
  $("dialog-meta").replaceChildren(name(idOf(decision)), " · ", new Date(decision.atMilliseconds).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }));
  const body = [h("p", {}, name(headline(decision)[1]))];
  if (full) body.push(...recordParts(full));
  $("dialog-body").replaceChildren(...body);
}

function recordParts(full) {
  const parts = [];
  if (full.steps.length > 0) {
    parts.push(h("ol", { class: "steps" }, ...full.steps.map((step) => {
      const mark = step.binding ? h("span", { class: "tag", "data-tone": "accent" }, "had the last word") : null;
      const lines = step.lines.length > 0 ? step.lines : ["nothing to say"];
      return h("li", { "data-binding": String(step.binding) }, h("h3", {}, step.title, mark), ...lines.map((line) => h("p", {}, name(local(line)))));
    })));
  }
  if (full.record === null) {
    parts.push(h("p", { class: "empty" }, full.trouble ? "No decision was made, so there is no record."
      : "The full record isn't kept any more; --decision-log keeps every one."));
    return parts;
  }
  if (full.recordIs === "abridged") parts.push(h("p", { class: "empty" }, "The workers and their samples aren't kept of this one; --decision-log keeps them."));
  const { input, spec, plan, stateBefore } = full.record;
  const sections = [["What was observed", input], ["What the user asked for", spec], ["What was decided", plan], ["What was remembered before", stateBefore]];
  if (input.workers.length > 0) parts.push(workersOfRecord(input));
  for (const [title, value] of sections) {
    parts.push(h("details", { class: "record" }, h("summary", {}, title), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2))));
  }
  return parts;
}

function workersOfRecord(input) {
  const at = Date.parse(input.now);
  const rows = input.workers.map((worker) => {
    const activity = worker.activity;
    const since = activity?.oldestWorkAt ? age((at - Date.parse(activity.oldestWorkAt)) / 1000) : "–";
    return h("tr", {}, h("th", { scope: "row" }, name(worker.name)), h("td", {}, worker.phase), h("td", {}, worker.readiness?.isReady ? "ready" : "not ready"),
      h("td", { class: "num" }, activity ? `${activity.inFlight} / ${activity.slots}` : "–"), h("td", { class: "num" }, since));
  });
  return h("details", { class: "record" }, h("summary", {}, `Its ${count(input.workers.length, "worker")}`),
    h("div", { class: "table-scroll" }, h("table", { class: "workers" }, h("thead", {}, h("tr", {},
      ...["Worker", "Phase", "Readiness", "Work / slots", "Oldest"].map((text, i) => h("th", { scope: "col", class: i > 2 ? "num" : null }, text)))), h("tbody", {}, ...rows))));
}

// MARK: Workers

/** What became of the workers that are gone, since this controller leads; null: nobody went. */
function outcome(fleet, reports) {
  const { removed, removedBusy, lostWork } = fleet;
  if (removed === 0 && removedBusy === 0 && lostWork === 0) return null;
  const gone = removed > 0 ? `${count(removed, "worker")} removed by scale-downs` : "No scale-down";
  // Without reports nobody knows what a worker had in hand.
  if (!reports && removedBusy === 0 && lostWork === 0) return { text: `${gone}.`, tone: "" };
  const lost = lostWork > 0 ? `${count(lostWork, "task")} lost with ${lostWork === 1 ? "its worker" : "their workers"}` : "no task lost";
  const busy = removedBusy === 0 ? "" : `; ${count(removedBusy, "worker")} left while busy`;
  return { text: `${gone}, ${lost}${busy}.`, tone: lostWork > 0 ? "bad" : removedBusy > 0 ? "warn" : "good" };
}

function renderOutcome() {
  const { workers } = state;
  const words = outcome(state.fleets.get(state.chosen), Boolean(workers) && workers.total > 0);
  const line = $("workers-outcome");
  line.hidden = words === null;
  if (!words) return;
  setText($("workers-outcome-text"), words.text);
  line.dataset.tone = words.tone;
  line.title = "Counted since this controller leads";
}

function renderWorkers() {
  const { workers } = state;
  renderOutcome();
  const none = !workers || workers.total === 0;
  $("workers-box").hidden = none;
  $("workers-none").hidden = !none;
  $("workers-more").hidden = true;
  if (none) {
    setText($("workers-sum"), "");
    setText($("workers-none"), state.coordinator
      ? "No worker of this fleet reports. With the sidecar or the library in its pods, each shows here with its slots, its work and its drain."
      : "Workers report to a coordinator, and this controller runs none (--coordinator-listen). Then each shows here with its slots, its work and its drain.");
    return;
  }
  const prefix = commonPrefix(workers.list.map((worker) => worker.name));
  const parts = [count(workers.total, "worker"), `${whole.format(workers.busy)} busy`, `${whole.format(workers.inFlight)} of ${count(workers.slots, "slot")} in use`];
  if (workers.queued) parts.push(`${whole.format(workers.queued)} queued`);
  if (workers.draining > 0) parts.push(`${whole.format(workers.draining)} draining`);
  setText($("workers-sum"), parts.join(" · "));
  const rank = (worker) => (worker.drain === "none" ? 1 : 0);
  const sorted = [...workers.list].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const shown = state.allWorkers ? sorted : sorted.slice(0, WORKERS_SHOWN);
  keyed($("worker-rows"), shown, (worker) => worker.name, workerRow, (row, worker) => updateWorker(row, worker, prefix));
  $("workers-more").hidden = state.allWorkers || sorted.length <= WORKERS_SHOWN;
  setText($("workers-more"), workers.total > sorted.length ? `Show ${sorted.length} of ${whole.format(workers.total)}` : `Show all ${sorted.length}`);
}

/** What all names begin with, up to a hyphen: pods of one ReplicaSet differ in their last five characters only. */
function commonPrefix(names) {
  if (names.length < 2) return "";
  let prefix = names[0];
  for (const text of names) while (!text.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.slice(0, prefix.lastIndexOf("-") + 1);
}

function workerRow() {
  return h("tr", {}, h("th", { scope: "row" }), h("td", {}, h("span", { class: "pips" })), h("td", { class: "num" }), h("td", {}, h("span", { class: "tag" })));
}

function updateWorker(row, worker, prefix) {
  const [head, work, oldest, status] = row.children;
  if (head.dataset.prefix !== prefix) {
    head.dataset.prefix = prefix;
    head.title = worker.name;
    head.replaceChildren(...(prefix ? [h("span", { class: "visually-hidden" }, name(prefix)), h("span", { "aria-hidden": "true" }, "…")] : []), name(worker.name.slice(prefix.length)));
  }
  const text = `${worker.inFlight} / ${worker.slots}`;
  const pips = work.firstElementChild;
  if (pips.dataset.text !== text) {
    pips.dataset.text = text;
    const shown = Math.min(worker.slots, 8);
    pips.replaceChildren(text, svg("svg", { width: shown * 9, height: 8, "aria-hidden": "true" },
      ...Array.from({ length: shown }, (_, i) => svg("rect", { x: i * 9, width: 7, height: 8, rx: 2, class: i < worker.inFlight * shown / worker.slots ? "pip on" : "pip" }))));
  }
  if (worker.oldestWorkAt === null) { delete oldest.dataset.since; setText(oldest, "–"); }
  else { oldest.dataset.since = worker.oldestWorkAt; setText(oldest, age(now() - worker.oldestWorkAt)); }
  tag(status.firstElementChild, ...workerState(worker));
}

function workerState(worker) {
  if (worker.drain === "ordered") return ["drain ordered", "accent"];
  if (worker.drain === "acknowledged") return worker.inFlight > 0 ? ["draining", "accent"] : ["drained", "accent"];
  if (now() - worker.reportedAt > 30) return ["lost contact", "bad"];
  if (worker.waitingForAPI) return ["waits for the API", "warn"];
  return worker.inFlight > 0 ? ["busy", "good"] : ["idle", ""];
}

// MARK: Controls

function pressed(group, attribute, value) {
  for (const button of $(group).children) button.setAttribute("aria-pressed", String(button.dataset[attribute] === String(value)));
}
$("spans").addEventListener("click", (event) => {
  if (!event.target.dataset.span) return;
  state.span = Number(event.target.dataset.span);
  pressed("spans", "span", state.span);
  renderCharts();
});
$("scope").addEventListener("click", (event) => {
  if (!event.target.dataset.scope) return;
  state.scope = event.target.dataset.scope;
  state.decisionsShown = DECISIONS_SHOWN;
  pressed("scope", "scope", state.scope);
  $("decisions").replaceChildren();
  renderDecisions();
});
$("decisions-more").addEventListener("click", () => { state.decisionsShown += DECISIONS_SHOWN; renderDecisions(); });
$("workers-more").addEventListener("click", () => { state.allWorkers = true; renderWorkers(); });
$("replicas-table").closest("details").addEventListener("toggle", () => renderTable(state.points));
$("filter-name").addEventListener("input", (event) => { state.filter.name = event.target.value.trim().toLowerCase(); state.page = 0; renderFleets(); });
$("filter-namespace").addEventListener("change", (event) => { state.filter.namespace = event.target.value; state.page = 0; renderFleets(); });
$("filter-state").addEventListener("change", (event) => { state.filter.state = event.target.value; state.page = 0; renderFleets(); });
$("page-back").addEventListener("click", () => { state.page -= 1; renderFleets(); });
$("page-on").addEventListener("click", () => { state.page += 1; renderFleets(); });
$("retry").addEventListener("click", () => { retryAt = 0; start(); });
$("dialog-close").addEventListener("click", () => $("dialog").close());
$("dialog").addEventListener("click", (event) => { if (event.target === $("dialog")) $("dialog").close(); });
$("dialog").addEventListener("close", () => {
  const opened = state.decisionOpen;
  state.decisionOpen = null;
  const fleet = state.fleets.get(state.chosen);
  if (decisionInHash()) history.replaceState(null, "", fleet ? fleetHash(fleet) : location.pathname);
  // Back to where one was, so that the keyboard goes on from there.
  for (const item of $("decisions").children) if (item.dataset.key === opened) item.firstElementChild.focus();
});
new ResizeObserver(() => schedule()).observe($("main"));
document.addEventListener("visibilitychange", () => { if (!document.hidden && !source && retryAt === 0) start(); });

start().then(() => { if (decisionInHash()) openDecision(decisionInHash()); });
