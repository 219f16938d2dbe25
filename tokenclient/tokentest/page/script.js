"use strict";
// What the server tells is put on the page as text, never as HTML. All that is kept is
// bounded: KEEP events, of which the last SHOWN are drawn, and FAMILIES logins.
const KEEP = 1000, SHOWN = 100, FAMILIES = 40, DRAWN = 6, GENERATIONS = 7, USERS = 50, LANES = 8;
const ROW = 26, LANE = 17, PAUSE = 200;

const $ = id => document.getElementById(id);
const svgNS = "http://www.w3.org/2000/svg";

function element(tag, className, ...children) {
	const e = document.createElement(tag);
	if (className) e.className = className;
	e.append(...children);
	return e;
}

function shape(tag, attributes) {
	const e = document.createElementNS(svgNS, tag);
	for (const name in attributes) e.setAttribute(name, attributes[name]);
	return e;
}

// ---- what is known

let events = [];           // by the time at which they began
let total = 0, gone = 0;
let families = new Map();  // by login, the newest last
const users = new Set();
const rows = new Map();    // the <tr> of an event that is shown
let dirty = false, drawn = 0, grown = true;

function add(e) {
	total++;
	let i = events.length;
	while (i > 0 && later(events[i - 1], e)) i--;
	events.splice(i, 0, e);
	if (e.user && !users.has(e.user)) {
		users.add(e.user);
		if (users.size > USERS) users.delete(users.values().next().value);
		usersChanged = true;
	}
	grow(e);
}

let usersChanged = false;

function later(a, b) {
	return a.at > b.at || a.at === b.at && (a.number || 0) > (b.number || 0);
}

// grow has the families learn of an event.
function grow(e) {
	if (e.kind === "request") return; // the most of them
	grown = true;
	if (e.kind === "revoke all") {
		for (const f of families.values()) if (f.user === e.user) f.dead = "revoked";
	}
	const login = (e.refresh || e.presented || e.access || {}).login;
	if (!login) return;
	let f = families.get(login);
	if (!f) {
		if (!e.refresh) return;
		f = {login, user: e.user, nodes: new Map(), dead: ""};
		families.set(login, f);
		if (families.size > FAMILIES) families.delete(families.keys().next().value);
	}
	const from = e.presented && f.nodes.get(e.presented.name);
	if (e.refresh && !f.nodes.has(e.refresh.name)) {
		const parent = e.kind === "refresh" && e.presented ? e.presented.name : "";
		f.nodes.set(e.refresh.name, {name: e.refresh.name, generation: e.refresh.generation, parent, spent: false, reused: false, renewed: 0});
		if (f.nodes.size > 4 * GENERATIONS) f.nodes.delete(f.nodes.keys().next().value);
		if (from) from.spent = true;
	} else if (from && e.kind === "refresh" && e.access) {
		from.renewed++;
	}
	if (e.reuse) {
		f.dead = "revoked for reuse";
		if (from) from.reused = true;
	}
	if (e.kind === "revocation" && e.status === 200 && from && !f.dead) f.dead = "revoked by the client";
}

// ---- the time line

const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3});

function chip(t) {
	const e = element("span", "chip g" + (t.generation || 0) % 8, element("i"));
	if (t.generation) e.append(element("b", "", String(t.generation)));
	e.append(element("span", "name", t.name));
	e.title = t.generation ? "generation " + t.generation + " of login " + t.login : "not a token of this server";
	return e;
}

function isLost(e) { return Boolean(e.reuse); }

function statusClass(e) {
	if (e.status >= 200 && e.status < 300) return e.reason && e.kind !== "request" ? "no" : "ok";
	return e.kind === "refresh" && e.status ? "bad" : "no";
}

const acts = {issue: "new login", expire: "all access tokens expire", "revoke access": "access revoked", "revoke all": "all revoked"};

function row(e) {
	const tr = element("tr");
	const td = (className, ...children) => tr.append(element("td", className, ...children));
	td("time-cell", clock.format(e.at));
	if (e.kind === "note") {
		tr.className = "note";
		const cell = element("td", "", e.reason);
		cell.colSpan = 5;
		tr.append(cell);
		return tr;
	}
	td("", e.client || (acts[e.kind] ? e.user || "everybody" : "?"));
	td("", acts[e.kind] ? acts[e.kind] : e.kind === "refresh" ? "refresh" : e.method + " " + e.path);
	const status = element("td");
	if (!acts[e.kind]) {
		status.append(element("span", "status " + statusClass(e), e.status ? String(e.status) : "cut"));
		status.append(element("span", "tag", (e.took >= 1 ? " " + Math.round(e.took) + " ms" : "") + (e.fault ? " fault" : "") + (e.repeats ? " sent again" : "")));
	}
	tr.append(status);
	td("", e.presented ? chip(e.presented) : "");
	const last = element("td");
	if (e.access) last.append(element("span", "tag", "access "), chip(e.access), " ");
	if (e.refresh) last.append(element("span", "tag", "refresh "), chip(e.refresh), " ");
	if (e.reason) last.append(element("span", isLost(e) ? "lost-text" : "tag", e.reason));
	last.title = last.textContent;
	tr.append(last);
	return tr;
}

function drawRows(shown) {
	const body = $("rows"), keep = new Set(shown);
	for (const [e, tr] of rows) {
		if (keep.has(e)) continue;
		tr.remove();
		rows.delete(e);
	}
	const few = shown.filter(e => !rows.has(e)).length < 20;
	let next = body.firstChild;
	for (const e of shown) {
		let tr = rows.get(e);
		if (!tr) {
			tr = row(e);
			if (few) tr.classList.add("fresh"); // many would keep the browser busy
			rows.set(e, tr);
		}
		if (tr === next) next = next.nextSibling;
		else body.insertBefore(tr, next);
	}
}

// drawGraph draws a lane for each client, a mark for each event, and the arrows.
function drawGraph(shown) {
	// A lane is free again after the last event of its client.
	const lanes = new Map();
	shown.forEach((e, i) => {
		if (!e.client) return;
		if (!lanes.has(e.client)) lanes.set(e.client, {from: i, to: i});
		lanes.get(e.client).to = i;
	});
	const busy = [];
	for (const lane of lanes.values()) {
		let k = busy.findIndex(to => to < lane.from);
		if (k < 0) k = Math.min(busy.length, LANES - 1);
		busy[k] = lane.to;
		lane.x = 14 + (k + 1) * LANE;
	}
	const width = 14 + (busy.length + 1) * LANE + 18;
	$("scroll").style.setProperty("--gutter", width + "px");
	const y = i => i * ROW + ROW / 2;
	const at = new Map(), users = new Map(), granted = new Map(), arrows = [], marks = [];
	shown.forEach((e, i) => {
		const lane = lanes.get(e.client);
		if (!lane) {
			if (e.kind !== "note") marks.push(shape("rect", {x: 10, y: y(i) - 4, width: 8, height: 8, class: "act mark"}));
			if (e.access) granted.set(e.access.name, {x: 14, i});
			return;
		}
		if (e.number) at.set(e.number, {x: lane.x, i});
		const again = at.get(e.repeats);
		if (again) arrows.push({from: again, to: {x: lane.x, i}, kind: "replay"});
		const grant = e.kind === "request" && e.presented && granted.get(e.presented.name);
		const first = e.presented && e.client + " " + e.presented.name;
		if (grant && !users.has(first)) {
			users.set(first, true);
			arrows.push({from: grant, to: {x: lane.x, i}, kind: "used"});
		}
		if (e.access) granted.set(e.access.name, {x: lane.x, i});
		const look = (isLost(e) || e.kind === "refresh" && !e.access ? "bad" : statusClass(e)) + " mark";
		marks.push(e.kind === "refresh" || e.kind === "login"
			? shape("path", {d: `M${lane.x} ${y(i) - 7}l7 7l-7 7l-7 -7Z`, class: look})
			: shape("circle", {cx: lane.x, cy: y(i), r: 5, class: look}));
	});
	const g = [];
	for (const lane of lanes.values()) g.push(shape("path", {d: `M${lane.x} ${y(lane.from)}V${y(lane.to)}`, class: "lane"}));
	for (const a of arrows) {
		const out = a.kind === "replay" ? 13 : 9, x = a.to.x + 6;
		const bend = Math.max(a.from.x, a.to.x) + out;
		g.push(shape("path", {d: `M${a.from.x + 5} ${y(a.from.i)}C${bend + 6} ${y(a.from.i)} ${bend + 6} ${y(a.to.i)} ${x + 3} ${y(a.to.i)}`, class: "arrow " + a.kind}));
		g.push(shape("path", {d: `M${x} ${y(a.to.i)}l5 -3.5v7Z`, class: "head " + a.kind}));
	}
	const graph = $("graph");
	graph.setAttribute("width", width);
	graph.setAttribute("height", shown.length * ROW);
	graph.replaceChildren(...g, ...marks);
}

// ---- the families

function drawTrees() {
	const items = [...families.values()].slice(-DRAWN).reverse().map(f => {
		const children = new Map();
		for (const n of f.nodes.values()) {
			const key = f.nodes.has(n.parent) ? n.parent : "";
			if (!children.has(key)) children.set(key, []);
			children.get(key).push(n);
		}
		const newest = Math.max(...[...f.nodes.values()].map(n => n.generation));
		const branch = n => {
			const state = n.reused ? "reused" : n.spent ? "spent" : f.dead ? "dead" : "current";
			const c = chip({name: n.name, generation: n.generation, login: f.login});
			c.classList.add(n.spent || f.dead ? "spent" : "current");
			if (n.reused) c.classList.add("reused");
			if (n.renewed) c.append(" ×" + n.renewed);
			c.append(element("span", "quiet", " " + state));
			const li = element("li", "branch", c), more = children.get(n.name);
			if (more) li.append(element("ul", "branches", ...more.map(branch)));
			return li;
		};
		// Long chains begin with the last generations.
		const old = n => n.generation <= newest - GENERATIONS && (children.get(n.name) || []).length > 0;
		let roots = children.get("") || [], left = 0;
		while (roots.some(old)) {
			roots = roots.flatMap(n => old(n) ? children.get(n.name) : [n]);
			left++;
		}
		const hidden = Math.max(0, Math.min(...roots.map(n => n.generation)) - 1);
		const whose = element("p", "whose", element("b", "", f.user || "?"), element("span", "tag", "login " + f.login),
			element("span", f.dead ? "dead" : "alive", f.dead || "alive"));
		if (hidden) whose.append(element("span", "tag", hidden + " older"));
		return element("li", "", whose, element("ul", "branches", ...roots.map(branch)));
	});
	$("trees").replaceChildren(...items);
}

// ---- drawing

function draw() {
	dirty = false;
	drawn = performance.now();
	if (events.length > KEEP) events = events.slice(-KEEP);
	const shown = events.slice(-SHOWN);
	drawRows(shown);
	setTimeout(drawGraph, 0, shown); // tasks of their own: a person may press a key in between
	if (grown) setTimeout(drawTrees, 0);
	grown = false;
	$("empty").hidden = shown.length > 0;
	$("shown").textContent = total ? `${shown.length} of ${total} events` + (gone ? `, ${gone} missed` : "") : "";
	document.body.dataset.events = total; // for tests
	if (usersChanged) {
		usersChanged = false;
		const select = $("user"), was = select.value;
		select.replaceChildren(element("option", "", "choose a user"), ...[...users].map(u => element("option", "", u)));
		select.firstChild.value = "";
		if (users.has(was)) select.value = was;
	}
	if ($("follow").checked) $("scroll").scrollTop = $("scroll").scrollHeight;
}

// redraw draws soon, and leaves the browser time for the person in between.
function redraw() {
	if (dirty) return;
	dirty = true;
	const wait = Math.max(0, PAUSE - (performance.now() - drawn));
	setTimeout(() => requestAnimationFrame(draw), wait);
}

const counterNames = {
	Requests: "requests", Unauthorized: "401s", Refreshes: "refreshes", Reuses: "reuses", Replays: "replays", Logins: "logins",
	Revocations: "revocations", Renewals: "renewals", Heartbeats: "heartbeats", Demands: "demands", NonceChallenges: "nonce challenges", BadProofs: "bad proofs",
};
const always = 6;

function drawState(state) {
	$("counters").replaceChildren(...Object.entries(counterNames).flatMap(([name, label], i) => {
		const n = state.counters[name] || 0;
		if (i >= always && !n) return [];
		return [element("div", name === "Reuses" && n ? "alarm" : "", element("dt", "", label), element("dd", "", String(n)))];
	}));
	for (const input of document.querySelectorAll("[data-knob]")) {
		const value = state.knobs[input.dataset.knob];
		if (input.type === "checkbox") input.checked = value === "true";
		else if (input !== document.activeElement) {
			if (input.tagName === "SELECT" && ![...input.options].some(o => o.value === value)) input.append(element("option", "", value));
			input.value = value;
		}
	}
	$("hold").setAttribute("aria-pressed", String(state.held));
	$("hold").textContent = state.held ? "Release API answers" : "Hold API answers";
	for (const button of document.querySelectorAll("[data-scene]")) {
		const key = button.dataset.key, running = Boolean(state.running[key]);
		button.classList.toggle("running", running);
		button.textContent = running ? (started.has(key) ? "Stop" : "Running") : button.dataset.library === "true" ? "With the library" : "Without the library";
		drawOutcome($(key), state.outcomes[key]);
	}
}

function drawOutcome(p, o) {
	const text = o ? o.text : "";
	if (p.dataset.text === text) return; // would be read out again
	p.dataset.text = text;
	p.replaceChildren();
	p.className = "outcome";
	if (!o) return;
	p.classList.add(o.lost ? "lost" : "kept");
	p.append(element("b", "", o.lost ? "Session lost" : "Session kept"), o.text.replace(/[,:] (session|failed).*$/, ""));
}

// ---- what a person does

function problem(text) {
	$("problem").textContent = text;
	$("problem").hidden = !text;
}

async function post(path, fields, signal) {
	try {
		const answer = await fetch(path, {method: "POST", body: new URLSearchParams(fields), signal});
		problem(answer.ok ? "" : await answer.text());
	} catch (err) {
		if (err.name !== "AbortError") problem("The server does not answer.");
	}
}

const started = new Map(); // the scenes that this page started, by key

async function run(button) {
	const key = button.dataset.key;
	if (started.has(key)) {
		started.get(key).abort();
		return;
	}
	const abort = new AbortController();
	started.set(key, abort);
	await post("/page/run", {scene: button.dataset.scene, library: button.dataset.library}, abort.signal);
	started.delete(key);
}

document.addEventListener("click", e => {
	const button = e.target.closest("button");
	if (!button) return;
	if (button.dataset.scene) run(button);
	if (button.dataset.do) post("/page/do", {what: button.dataset.do, user: $("user").value});
	if (button.id === "clear") {
		events = [];
		families = new Map();
		grown = true;
		total = gone = 0;
		redraw();
	}
});

document.addEventListener("change", e => {
	const knob = e.target.dataset.knob;
	if (knob) post("/page/set", {name: knob, value: e.target.type === "checkbox" ? String(e.target.checked) : e.target.value});
	if (e.target.id === "follow" && e.target.checked) redraw();
});

$("fail").addEventListener("submit", e => {
	e.preventDefault();
	const fields = new FormData(e.target);
	fields.set("what", "fail");
	post("/page/do", fields);
});

// ---- what the server tells

const source = new EventSource("/page/events");
source.onopen = () => { $("link").textContent = "live"; $("link").classList.add("live"); };
source.onerror = () => { $("link").textContent = "not connected"; $("link").classList.remove("live"); };
source.addEventListener("state", m => drawState(JSON.parse(m.data)));
source.addEventListener("events", m => {
	const news = JSON.parse(m.data);
	gone += news.gone;
	total += news.gone;
	for (const e of news.events) add(e);
	if (events.length > KEEP) events = events.slice(-KEEP);
	redraw();
});
