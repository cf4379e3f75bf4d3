// The live page. Names of files are data: they get into the page by textContent and attributes only, never as markup.
"use strict";
(() => {
  const run = document.body.dataset.run;
  const api = `/api/v1/runs/${run}`;
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
  const NAMES = {
    seen: "Seen", waiting: "Waiting to be complete", ready: "Ready", running: "Being measured", failed: "To be tried again",
    done: "Done", quarantined: "In quarantine", lost_source: "Vanished before its turn",
  };
  const LOOK_MS = 2000, SLOW_MS = 4000;
  let status = null, me = { may_act: false }, span = "second", hold = false, source = null, plate = "", wanted = 24, cursor = null;
  let shownQuery = "", due = { latest: true, bad: true, plates: true };

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (name === "click") node.addEventListener("click", value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }
  function draw(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  // Only what differs is written: a page that writes the same again and again flickers and loses selections.
  function say(node, words) { if (node.textContent !== words) node.textContent = words; }
  const count = (n) => Math.round(n).toLocaleString("en");
  function size(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let at = 0;
    while (bytes >= 999.5 && at < units.length - 1) { bytes /= 1000; at += 1; }
    return `${at && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
  }
  function seconds(s) {
    if (s === null || s === undefined) return "\u2013";
    if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
    if (s < 9.95) return `${s.toFixed(1)} s`;
    if (s < 120) return `${Math.round(s)} s`;
    return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
  }
  const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

  async function ask(path, options = {}) {
    const answer = await fetch(path, { cache: "no-store", ...options });
    let content = null;
    try { content = await answer.json(); } catch { content = null; }
    if (!answer.ok) throw new Error((content && content.detail) || `the server answered ${answer.status}`);
    return content;
  }
  const act = (name, content) => ask(`${api}/${name}`, {
    method: "POST", headers: { "Content-Type": "application/json", "X-Tierflow-Action": "1" }, body: content && JSON.stringify(content),
  });

  let fading = 0;
  function toast(words) {
    const node = byId("toast");
    node.textContent = words;
    node.classList.add("on");
    clearTimeout(fading);
    fading = setTimeout(() => node.classList.remove("on"), 6000);
  }
  const guarded = (job) => async (event) => {
    const button = event && event.currentTarget;
    if (button) button.disabled = true;
    try { await job(event); } catch (error) { toast(error.message); } finally { if (button) button.disabled = false; }
  };

  // ---- health and figures
  function light(id, state, words, more) {
    const node = byId(id);
    node.className = `light ${state}`;
    say(node.querySelector("[data-words]"), words);
    say(node.querySelector("[data-more]"), more || "\u00a0");
  }
  function showHealth() {
    const { service, watcher, states } = status;
    const good = service.state === "running";
    light("service", good ? "good" : service.state === "stopped" ? "" : "bad", service.words, service.input ? `${service.host || ""} \u00b7 process ${service.pid || "?"}` : "");
    const idle = service.state === "stopped" || service.state === "dead";
    light("watcher", idle ? "" : watcher.ok ? "good" : "bad", idle ? "not watched now" : watcher.words, watcher.look || "");
    byId("acts").hidden = !me.may_act;
    byId("pause").disabled = service.state !== "running";
    byId("resume").disabled = service.state !== "paused";
    byId("drain").disabled = idle || service.state === "draining";
    byId("retry-all").hidden = !me.may_act || !states.quarantined;
  }
  function showFigures() {
    const { states, latency_s: latency, lag_s, waiting_s, arrivals } = status;
    const lately = arrivals.second.slice(-60).reduce((a, b) => a + b, 0) / 60;
    say(byId("rate"), lately && lately < 9.95 ? lately.toFixed(1) : count(lately));
    const queue = states.ready + states.running + states.failed;
    say(byId("queue"), count(queue));
    say(byId("queue-more"), queue ? `oldest ready for ${seconds(lag_s)}` : states.waiting + states.seen ? `${count(states.waiting + states.seen)} not complete yet` : "nothing waits");
    say(byId("median"), seconds(latency && latency.median));
    say(byId("p95"), seconds(latency && latency.p95));
    say(byId("p95-more"), latency ? `of ${plural(latency.n, "object")}, last 5 minutes` : "nothing in the last 5 minutes");
    say(byId("done"), count(states.done));
    const all = Object.values(states).reduce((a, b) => a + b, 0);
    say(byId("done-more"), `of ${plural(all, "object")}`);
    say(byId("bad"), count(states.quarantined));
    byId("bad-card").classList.toggle("bad", states.quarantined > 0);
    say(byId("bad-more"), states.lost_source ? `${count(states.lost_source)} vanished` : states.quarantined ? "look at them below" : "all could be read");
    return waiting_s;
  }
  function showStates() {
    const rows = Object.entries(status.states).map(([name, n]) => {
      const bad = (name === "quarantined" || name === "failed" || name === "lost_source") && n;
      return make("tr", { class: bad ? "bad" : n ? "" : "zero" }, make("th", { scope: "row", text: NAMES[name] || name }), make("td", { text: count(n) }));
    });
    byId("states").replaceChildren(...rows);
    const reasons = [...(status.reasons.waiting || []), ...(status.reasons.failed || [])].filter((each) => each.reason).slice(0, 4);
    const left = status.watcher.left_out_message;
    byId("reasons").replaceChildren(
      ...reasons.map((each) => make("li", { text: `${count(each.objects)}: ${each.reason} (such as ${each.example})` })),
      ...(left ? [make("li", { text: left })] : []));
  }
  function showArrivals() {
    const come = status.arrivals[span], gone = span === "second" ? status.finished.second : [];
    const top = Math.max(1, ...come, ...gone), step = 1200 / come.length;
    const y = (n) => (200 - (n / top) * 184).toFixed(1);
    let area = "M0 200", line = "";
    come.forEach((n, i) => { area += `V${y(n)}H${((i + 1) * step).toFixed(1)}`; });
    gone.forEach((n, i) => { line += `${i ? "L" : "M"}${((i + 0.5) * step).toFixed(1)} ${y(n)}`; });
    byId("area").setAttribute("d", `${area}V200Z`);
    byId("line").setAttribute("d", line);
    const nothing = ![...come, ...gone].some(Boolean);
    say(byId("ymax"), nothing ? "" : `${count(top)} per ${span}`);
    byId("nothing").hidden = !nothing;
    say(byId("in-words"), `arrived per ${span}`);
    byId("out-key").hidden = span !== "second";
    say(byId("from"), span === "second" ? "2 minutes ago" : "1 hour ago");
    byId("by-second").setAttribute("aria-pressed", span === "second");
    byId("by-minute").setAttribute("aria-pressed", span === "minute");
  }
  function showTiers() {
    const all = status.tiers.reduce((sum, each) => sum + each.objects, 0) || 1;
    byId("tiers").replaceChildren(...status.tiers.map((each) => {
      const part = (100 * each.objects) / all;
      const rects = ["light", "dark"].map((kind) => draw("rect", { class: kind, width: part.toFixed(2), height: 1, fill: each[kind] }));
      return make("li", {},
        make("div", { class: "line" }, make("b", { text: each.name }), make("span", { text: `${count(each.objects)} \u00b7 ${size(each.bytes)}` })),
        draw("svg", { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" }, ...rects));
    }));
  }
  function dot(tier) {
    const found = status && status.tiers.find((each) => each.name === tier);
    const circles = ["light", "dark"].map((kind) => draw("circle", { class: kind, cx: 5, cy: 5, r: 5, fill: found ? found[kind] : "#888888" }));
    return draw("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" }, ...circles);
  }

  // ---- images
  const picture = (each) => make("img", { src: `/thumbnail/${encodeURIComponent(each.object_id)}.png`, alt: "", loading: "lazy", decoding: "async" });
  function tile(each) {
    const score = each.interestingness === null || each.interestingness === undefined ? "" : each.interestingness.toFixed(3);
    const reason = each.why || each.reason || "";
    const more = each.latency_s === undefined || each.latency_s === null ? [each.plate === "." ? "" : each.plate, each.well, each.channel].filter(Boolean).join(" \u00b7 ") : `in ${seconds(each.latency_s)}${each.version > 1 ? ` \u00b7 version ${each.version}` : ""}${each.incomplete ? " \u00b7 incomplete" : ""}`;
    const node = make("li", { class: "tile" },
      make("div", { class: "frame" }, picture(each)),
      make("div", { class: "caption" },
        make("div", { class: "line" }, make("span", { class: "badge" }, dot(each.tier), each.tier || "\u2013"), make("span", { class: "score", text: score })),
        make("span", { class: "name", title: each.path, text: each.path }),
        make("span", { class: "reason", title: reason, text: reason }),
        make("span", { class: "soft", text: more })));
    node.dataset.key = `${each.object_id} ${each.version || ""} ${each.tier}`;
    return node;
  }
  // Tiles that stay are moved, not made again: their pictures needn't be asked for twice.
  function fill(list, items, maker, key) {
    const before = new Map([...list.children].map((node) => [node.dataset.key, node]));
    list.replaceChildren(...items.map((each) => before.get(key(each)) || maker(each)));
  }
  const tileKey = (each) => `${each.object_id} ${each.version || ""} ${each.tier}`;
  async function showLatest() {
    if (hold) return;
    const found = (await ask(`${api}/latest`)).slice(0, innerWidth < 560 ? 8 : 12);
    fill(byId("latest"), found, tile, tileKey);
    byId("no-latest").hidden = found.length > 0;
  }

  // ---- quarantine
  function badRow(each) {
    const buttons = [
      make("button", { class: "button thin", text: "Retry", click: guarded(async () => { const { request } = await act("retry", { ids: [each.id] }); toast(`Asked to try it again (request ${request}).`); }) }),
      make("button", { class: "button thin", text: "Relabel\u2026", click: () => open(each, "relabel") }),
    ];
    if (!each.approved_by) buttons.push(make("button", { class: "button thin", text: "Approve\u2026", click: () => open(each, "approve") }));
    const text = make("div", { class: "text" }, make("span", { class: "name", title: each.path, text: each.path }), make("span", { class: "reason", title: each.reason, text: each.reason || "no reason is known" }));
    if (each.approved_by) text.append(make("span", { class: "approved small", text: `${each.approved_by} has confirmed that it belongs here` }));
    const node = make("li", {}, make("div", { class: "thumb" }, picture(each)), text);
    if (me.may_act) node.append(make("div", { class: "acts" }, ...buttons));
    node.dataset.key = badKey(each);
    return node;
  }
  const badKey = (each) => `${each.object_id} ${each.version} ${each.approved_by || ""} ${each.reason} ${me.may_act}`;
  async function showBad() {
    const { total, objects } = await ask(`${api}/objects?state=quarantined&limit=50`);
    const sorted = [...objects.filter((each) => !each.approved_by), ...objects.filter((each) => each.approved_by)];
    fill(byId("quarantine"), sorted, badRow, badKey);
    say(byId("bad-count"), total > objects.length ? `the latest ${objects.length} of ${count(total)}` : total ? count(total) : "");
    byId("no-bad").hidden = objects.length > 0;
  }
  let deciding = null;
  function open(each, kind) {
    deciding = { each, kind };
    say(byId("dialog-title"), kind === "relabel" ? "It belongs to another tier" : "It belongs to quarantine");
    say(byId("dialog-name"), each.path);
    byId("dialog-tier").hidden = kind !== "relabel";
    byId("reason").value = "";
    byId("reason").required = kind === "relabel";
    say(byId("dialog-about"), "Recorded with your name. All objects of its unit go with it.");
    byId("dialog-problem").hidden = true;
    byId("dialog").showModal();
    byId("reason").focus();
  }
  byId("dialog-form").addEventListener("submit", async (event) => {
    if (event.submitter && event.submitter.value === "cancel") return;
    event.preventDefault();
    const { each, kind } = deciding, content = { ids: [each.id], reason: byId("reason").value.trim() };
    if (kind === "relabel") content.tier = byId("tier").value;
    byId("dialog-ok").disabled = true;
    try {
      const { objects, placed } = await act(kind, content);
      byId("dialog").close();
      toast(`Recorded for ${plural(objects, "object")}${placed === "soon" ? "." : "; files follow with the next run."}`);
      due.bad = due.latest = true;
    } catch (error) {
      byId("dialog-problem").hidden = false;
      say(byId("dialog-problem"), error.message);
    } finally { byId("dialog-ok").disabled = false; }
  });

  // ---- plates
  function colour(value) {
    const at = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1), low = Math.min(Math.floor(at), VIRIDIS.length - 2);
    const parts = [1, 3, 5].map((i) => {
      const [a, b] = [VIRIDIS[low], VIRIDIS[low + 1]].map((hex) => parseInt(hex.slice(i, i + 2), 16));
      return Math.round(a + (b - a) * (at - low)).toString(16).padStart(2, "0");
    });
    return `#${parts.join("")}`;
  }
  function letters(row) {
    let text = "";
    for (; row > 0; row = Math.floor((row - 1) / 26)) text = String.fromCharCode(65 + ((row - 1) % 26)) + text;
    return text;
  }
  function wellWords(well) {
    const parts = [well.well, plural(well.objects, "object")];
    if (well.mean !== null) parts.push(`mean ${well.mean.toFixed(3)}`);
    if (well.failed) parts.push(`${count(well.failed)} failed`);
    return parts.join(" \u00b7 ");
  }
  async function showPlates() {
    const plates = await ask(`${api}/plates`), select = byId("plate");
    byId("no-plate").hidden = plates.length > 0;
    byId("plate-box").hidden = select.hidden = plates.length === 0;
    if (!plates.length) return;
    if (!plates.some((each) => each.plate === plate)) plate = plates.reduce((a, b) => (b.objects > a.objects ? b : a)).plate;
    const words = plates.map((each) => `${each.shown} (${count(each.objects)})`);
    if (select.options.length !== plates.length) select.replaceChildren(...plates.map(() => make("option")));
    plates.forEach((each, i) => { select.options[i].value = each.plate; say(select.options[i], words[i]); });
    select.value = plate;
    const found = await ask(`${api}/plate?name=${encodeURIComponent(plate)}`);
    for (const part of byId("plate-box").children) part.toggleAttribute("hidden", !found.wells.length && part.id !== "well");
    const cell = 20, svg = byId("wells"), known = new Map(found.wells.map((well) => [`${well.row} ${well.column}`, well]));
    svg.setAttribute("viewBox", `0 0 ${found.columns * cell + 16} ${found.rows * cell + 14}`);
    svg.setAttribute("aria-label", `Plate ${found.shown}: ${found.wells.length} of ${found.rows * found.columns} wells`);
    const nodes = [];
    for (let column = 1; column <= found.columns; column += 1) nodes.push(draw("text", { x: 16 + (column - 0.5) * cell, y: 9 }, String(column)));
    for (let row = 1; row <= found.rows; row += 1) {
      nodes.push(draw("text", { x: 7, y: 14 + (row - 0.35) * cell }, letters(row)));
      for (let column = 1; column <= found.columns; column += 1) {
        const well = known.get(`${row} ${column}`);
        const node = draw("rect", { x: 17 + (column - 1) * cell, y: 15 + (row - 1) * cell, width: cell - 2, height: cell - 2, rx: 3 });
        if (!well) node.setAttribute("class", "none");
        else if (well.mean === null) node.setAttribute("class", "w lost");
        else { node.setAttribute("class", "w"); node.setAttribute("fill", colour(well.mean)); }
        if (well) { node.append(draw("title", {}, wellWords(well))); node.addEventListener("pointerenter", () => say(byId("well"), wellWords(well))); }
        nodes.push(node);
      }
    }
    svg.replaceChildren(...nodes);
    if (!found.wells.length) say(byId("well"), "The names of these files tell no well.");
    else if (byId("well").textContent.startsWith("The names")) say(byId("well"), "\u00a0");
  }

  // ---- search
  async function search(more) {
    const query = more ? shownQuery : byId("q").value.trim(), list = byId("found");
    byId("q-problem").hidden = true;
    try {
      const from = more && cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
      const found = await ask(`${api}/search?limit=${wanted}&q=${encodeURIComponent(query)}${from}`);
      if (!more) list.replaceChildren();
      list.append(...found.rows.map(tile));
      shownQuery = query;
      cursor = found.next_cursor;
      say(byId("q-count"), found.total ? `${plural(found.total, "object")}, the most interesting first` : "No object fits.");
    } catch (error) {
      list.replaceChildren();
      cursor = null;
      say(byId("q-count"), "");
      say(byId("q-problem"), error.message);
      byId("q-problem").hidden = false;
    }
    byId("more").hidden = !cursor;
  }

  // ---- the stream of events
  function show(found) {
    status = found;
    byId("problem").hidden = true;
    showHealth(); showFigures(); showStates(); showArrivals(); showTiers();
  }
  function connect() {
    if (source) source.close();
    source = new EventSource(`${api}/events`);
    source.addEventListener("open", () => light("link", "good", "up to date", ""));
    source.addEventListener("status", (event) => { show(JSON.parse(event.data)); light("link", "good", "up to date", ""); });
    source.addEventListener("news", (event) => {
      const kinds = new Set(JSON.parse(event.data).map((each) => each.kind));
      if (kinds.has("done") || kinds.has("quarantined")) due.latest = due.plates = true;
      if (kinds.has("quarantined") || kinds.has("action") || kinds.has("request")) due.bad = true;
    });
    source.addEventListener("problem", (event) => { byId("problem").hidden = false; say(byId("problem"), JSON.parse(event.data).problem); });
    source.addEventListener("error", () => {
      light("link", "bad", "no connection: trying again", "what you see may be old");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    });
  }
  async function refresh(name, job) {
    if (!due[name] || document.hidden || !status) return;
    due[name] = false;
    try { await job(); } catch { due[name] = true; }
  }
  setInterval(() => { refresh("latest", showLatest); refresh("bad", showBad); }, LOOK_MS);
  setInterval(() => refresh("plates", showPlates), SLOW_MS);
  // Some things change without news: what fell out of a window of time, or what another server was asked.
  setInterval(() => { due = { latest: true, bad: true, plates: true }; }, 15 * LOOK_MS);
  addEventListener("pagehide", () => source && source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());

  const press = (id, name, words) => byId(id).addEventListener("click", guarded(async () => { const { request } = await act(name, name === "retry" ? {} : undefined); toast(`${words} (request ${request}).`); }));
  press("pause", "pause", "Asked to pause");
  press("resume", "resume", "Asked to go on");
  press("drain", "drain", "Asked to finish what is there and end");
  press("retry-all", "retry", "Asked to try all again");
  byId("by-second").addEventListener("click", () => { span = "second"; if (status) showArrivals(); });
  byId("by-minute").addEventListener("click", () => { span = "minute"; if (status) showArrivals(); });
  byId("hold").addEventListener("click", (event) => { hold = !hold; event.currentTarget.setAttribute("aria-pressed", hold); due.latest = true; });
  byId("plate").addEventListener("change", (event) => { plate = event.currentTarget.value; showPlates().catch((error) => toast(error.message)); });
  byId("search").addEventListener("submit", (event) => { event.preventDefault(); cursor = null; search(false); });
  byId("more").addEventListener("click", () => search(true));
  byId("ramp").append(...VIRIDIS.map((fillColour, i) => draw("rect", { x: i, width: 1.02, height: 1, fill: fillColour })));

  ask("/api/v1/me").then((found) => { me = found; const link = byId("login"); if (link) link.hidden = !found.can_log_in; if (status) { showHealth(); due.bad = true; } }).catch(() => {});
  ask(`${api}/status`).then((found) => { show(found); for (const [name, job] of [["latest", showLatest], ["bad", showBad], ["plates", showPlates]]) refresh(name, job); }).catch(() => {});
  connect();
})();
