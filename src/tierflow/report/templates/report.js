(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("on");

  const number = (value, digits = 4) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e10)) return value.toExponential(2);
    return value.toLocaleString("en", { maximumSignificantDigits: digits });
  };
  const bytes = (value) => {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${number(value, 3)} ${units[unit]}`;
  };
  // Text goes in as text nodes only: nothing read from a file name is ever parsed as HTML.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "style") Object.assign(element.style, value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  // --- pictures -----------------------------------------------------------------------------------------------
  const viewer = document.getElementById("viewer");
  const tiles = all(".tile");
  let shown = 0;

  const zbar = (z) => {
    const part = Math.min(Math.abs(z) / 6, 1) * 50;
    const place = z < 0 ? { right: "50%", width: `${part}%` } : { left: "50%", width: `${part}%` };
    return make("span", { class: "zbar", title: `robust z ${z}` }, make("i", { class: Math.abs(z) > 3 ? "far" : "", style: place }));
  };
  const valueRow = (entry) => make("tr", {},
    make("th", { scope: "row", title: entry.name }, entry.label), make("td", {}, entry.value),
    make("td", { class: "soft" }, entry.median ?? ""), make("td", {}, entry.z === undefined ? "" : number(entry.z, 3)),
    make("td", {}, entry.z === undefined ? "" : zbar(entry.z)));
  const pictureOf = (tile, detail) => {
    const image = one("img", tile);
    const holder = make("div");
    if (!image) {
      holder.append(one(".frame", tile).cloneNode(true));
      return holder;
    }
    const small = image.naturalWidth < 400;
    const whole = make("div", { class: "whole" }, make("img", { src: image.src, alt: image.alt, class: small ? "px" : "" }));
    if (detail.box) {
      const [left, top, width, height] = detail.box.map((edge) => `${edge}%`);
      whole.append(make("span", { class: "box", style: { left, top, width, height } }));
    }
    holder.append(make("div", { class: "viewer-image" }, whole));
    if (detail.note) holder.append(make("p", { class: "soft small" }, detail.note));
    if (detail.detail) {
      holder.append(make("div", { class: "viewer-detail" }, make("img", { src: detail.detail, alt: "Detail at the camera's own pixels", width: 240, height: 240 }),
        make("p", { class: "soft small" }, "The framed piece at the camera's own pixels, nothing reduced: judge focus here. It is the piece with the most contrast.")));
    }
    return holder;
  };
  const open = (index) => {
    shown = (index + tiles.length) % tiles.length;
    const tile = tiles[shown];
    const detail = data.tiles[Number(tile.dataset.tile)];
    const values = make("table", { class: "values" }, make("thead", {}, make("tr", {},
      ...["feature", "value", "plate median", "robust z", ""].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...detail.features.map(valueRow)));
    const text = make("div", {},
      make("p", {}, ...all(".badge, .chip", tile).map((node) => { const copy = node.cloneNode(true); copy.style.marginRight = "8px"; return copy; })),
      make("p", { style: { margin: "8px 0" } }, one(".reason", tile).textContent),
      ...detail.findings.map((found) => make("p", { class: "soft" }, found)),
      make("dl", { class: "facts" }, ...detail.facts.map(([name, fact]) => make("div", {}, make("dt", {}, name), make("dd", {}, fact)))),
      detail.features.length ? values : null);
    const button = (label, name, act) => {
      const element = make("button", { type: "button", class: "plainbutton", "aria-label": name, title: name }, label);
      element.addEventListener("click", act);
      return element;
    };
    const score = one(".score", tile);
    const head = make("div", { class: "viewer-head" }, make("strong", { id: "viewer-name" }, one(".name", tile).textContent),
      score ? make("span", { class: "score" }, `IF ${score.textContent}`) : null,
      button("←", "Previous picture", () => open(shown - 1)), button("→", "Next picture", () => open(shown + 1)), button("✕", "Close", () => viewer.close()));
    viewer.replaceChildren(head, make("div", { class: "viewer-body" }, pictureOf(tile, detail), text));
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
  };
  tiles.forEach((tile, index) => tile.addEventListener("click", () => open(index)));
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") open(shown - 1);
    if (event.key === "ArrowRight") open(shown + 1);
  });
  viewer.addEventListener("close", () => tiles[shown].focus());

  // --- what if ------------------------------------------------------------------------------------------------
  const what = data.whatif;
  const panel = document.getElementById("whatif");
  if (what && panel) {
    const sliders = all("input[type=range]", panel);
    const own = what.minima.map((value) => Math.round(value * 1000) / 1000);
    const lines = all(".cut", one("#scores"));
    const names = all(".cutname", one("#scores"));
    const bars = document.getElementById("score-bars");
    const ownBars = bars.innerHTML;
    const tierOf = (bin, minima) => { const at = minima.findIndex((minimum) => bin >= Math.round(minimum * 1000)); return at < 0 ? minima.length : at; };
    const redraw = (minima) => {
      const per = 1000 / what.bins;
      const columns = Array.from({ length: what.bins }, () => new Array(what.tiers.length).fill(0));
      what.fine.counts.forEach((count, bin) => { columns[Math.min(Math.floor(bin / per), what.bins - 1)][tierOf(bin, minima)] += count; });
      const scale = Math.max(...columns.map((column) => column.reduce((a, b) => a + b, 0)), 1) * 1.04;
      const paths = what.tiers.map(() => "");
      columns.forEach((column, index) => {
        let base = 1000;
        for (let tier = column.length - 1; tier >= 0; tier -= 1) {
          const height = (1000 * column[tier]) / scale;
          if (height > 0) { paths[tier] += `M${index * per} ${base - height}h${per - 1.6}v${height}h${1.6 - per}z`; base -= height; }
        }
      });
      bars.replaceChildren(...paths.map((path, tier) => {
        const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
        element.setAttribute("class", `f${what.colours[tier]}`);
        element.setAttribute("d", path || "M0 0");
        return element;
      }));
    };
    const show = () => {
      const minima = sliders.map((slider) => Number(slider.value));
      const same = minima.every((value, index) => value === own[index]);
      const counts = what.fixed.counts.slice();
      const sizes = what.fixed.sizes.slice();
      what.fine.counts.forEach((count, bin) => { const tier = tierOf(bin, minima); counts[tier] += count; sizes[tier] += what.fine.sizes[bin]; });
      const then = same ? what.now : { counts, sizes };
      all("tbody tr", panel).forEach((row, tier) => {
        for (const key of ["counts", "sizes"]) {
          const cell = one(`[data-then=${key}]`, row);
          cell.textContent = key === "counts" ? then.counts[tier].toLocaleString("en") : bytes(then.sizes[tier]);
          cell.classList.toggle("changed", then[key][tier] !== what.now[key][tier]);
        }
      });
      sliders.forEach((slider, index) => { slider.nextElementSibling.textContent = minima[index].toFixed(3); });
      lines.forEach((line) => {
        const value = minima[Number(line.dataset.cut)];
        line.setAttribute("d", `M${value * 1000} -20V1000`);
      });
      const levels = [];
      minima.forEach((place, index) => {
        const taken = levels.filter((_, before) => before < index && Math.abs(minima[before] - place) < 0.16);
        levels.push([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].find((level) => !taken.includes(level)) ?? 0);
      });
      names.forEach((label, index) => { label.style.left = `${minima[index] * 100}%`; label.style.setProperty("--level", levels[index]); label.textContent = `${what.tiers[index]} from ${number(minima[index], 3)}`; });
      if (same) bars.innerHTML = ownBars; else redraw(minima);
    };
    sliders.forEach((slider, index) => slider.addEventListener("input", () => {
      // Cut-offs keep their order: a better tier never begins below a worse one.
      sliders.forEach((other, place) => {
        if (place < index && Number(other.value) < Number(slider.value)) other.value = slider.value;
        if (place > index && Number(other.value) > Number(slider.value)) other.value = slider.value;
      });
      show();
    }));
    document.getElementById("whatif-reset").addEventListener("click", () => { sliders.forEach((slider, index) => { slider.value = own[index]; }); show(); });
    show();
  }

  // --- plates -------------------------------------------------------------------------------------------------
  const tip = document.getElementById("tip");
  const maps = data.plates;
  if (maps) {
    const stops = maps.colours.map((colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)));
    const colourAt = (position) => {
      const place = Math.min(Math.max(position, 0), 1) * (stops.length - 1);
      const low = Math.min(Math.floor(place), stops.length - 2);
      return `rgb(${stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (place - low))).join(",")})`;
    };
    const select = document.getElementById("plate-measure");
    const wells = all(".plate").map((svg) => all(".w", svg));
    wells.flat().forEach((well) => { const title = one("title", well); well.setAttribute("aria-label", title.textContent); title.remove(); });
    const paint = () => {
      const measure = maps.measures[Number(select.value)];
      const [low, high] = measure.span;
      maps.plates.forEach((plate, index) => wells[index].forEach((well) => {
        const value = plate.values[measure.key][Number(well.dataset.w)];
        well.classList.toggle("lost", value === null);
        if (value === null) well.removeAttribute("fill"); else well.setAttribute("fill", colourAt((value - low) / (high - low)));
      }));
      document.getElementById("ramp-low").textContent = number(low, 3);
      document.getElementById("ramp-high").textContent = number(high, 3);
      document.getElementById("plate-about").textContent = `colour is ${measure.label}`;
    };
    select.addEventListener("change", paint);
    const rowName = (row) => (row < 26 ? String.fromCharCode(65 + row) : rowName(Math.floor(row / 26) - 1) + String.fromCharCode(65 + (row % 26)));
    const hover = (event) => {
      const well = event.target.closest(".w");
      tip.hidden = !well;
      if (!well) return;
      const plate = maps.plates[Number(well.closest(".plate").dataset.plate)];
      const at = Number(well.dataset.w);
      const measure = maps.measures[Number(select.value)];
      const name = `${rowName(Math.floor(at / plate.columns))}${String((at % plate.columns) + 1).padStart(2, "0")}`;
      const failed = plate.failed[at] ? `, ${plate.failed[at]} failed` : "";
      tip.replaceChildren(make("strong", {}, `${name}  `), `${measure.label} ${number(plate.values[measure.key][at])}`, make("br"), `${plate.objects[at]} objects${failed}`);
      const right = event.clientX + 280 > window.innerWidth;
      Object.assign(tip.style, { left: right ? "" : `${event.clientX + 14}px`, right: right ? `${window.innerWidth - event.clientX + 14}px` : "", top: `${event.clientY + 16}px` });
    };
    all(".plate").forEach((svg) => { svg.addEventListener("pointermove", hover); svg.addEventListener("pointerleave", () => { tip.hidden = true; }); });
  }

  // --- objects ------------------------------------------------------------------------------------------------
  const PER_PAGE = 50;
  const listing = data.table;
  const table = document.getElementById("listing");
  if (!table) return;
  const order = { column: -1, down: false };
  let first = 0;
  let matching = listing.rows.map((_, index) => index);
  const sortKey = (index, column) => {
    const key = listing.columns[column];
    if (key === "interestingness") return listing.keys[index][0] ?? -1;
    if (key === "bytes") return listing.keys[index][1];
    return listing.rows[index][column];
  };
  const fill = () => {
    first = Math.max(0, Math.min(first, Math.floor((matching.length - 1) / PER_PAGE) * PER_PAGE));
    const body = one("tbody", table);
    body.replaceChildren(...matching.slice(first, first + PER_PAGE).map((index) => make("tr", {},
      ...listing.rows[index].map((cell, column) => make("td", { class: `k-${listing.columns[column]}` }, make("div", { title: listing.columns[column] === "reason" ? cell : null }, cell))))));
    document.getElementById("where").textContent = matching.length ? `${first + 1} to ${Math.min(first + PER_PAGE, matching.length)} of ${matching.length.toLocaleString("en")}` : "nothing matches";
    document.getElementById("less").disabled = first === 0;
    document.getElementById("more").disabled = first + PER_PAGE >= matching.length;
  };
  const find = () => {
    const terms = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const hit = (row, term) => {
      const [key, wanted] = term.includes(":") ? term.split(/:(.*)/) : [null, term];
      const column = key === null ? -1 : listing.columns.indexOf(key);
      return column >= 0 ? row[column].toLowerCase() === wanted : row.some((cell) => cell.toLowerCase().includes(term));
    };
    matching = listing.rows.map((_, index) => index).filter((index) => terms.every((term) => hit(listing.rows[index], term)));
    if (order.column >= 0) {
      const sign = order.down ? -1 : 1;
      const text = new Intl.Collator("en", { numeric: true }).compare;
      matching.sort((a, b) => {
        const [x, y] = [sortKey(a, order.column), sortKey(b, order.column)];
        return sign * (typeof x === "number" ? x - y : text(x, y));
      });
    }
    first = 0;
    fill();
  };
  all("thead th", table).forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      order.down = order.column === column ? !order.down : ["interestingness", "bytes"].includes(listing.columns[column]);
      order.column = column;
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      find();
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  });
  document.getElementById("filter").addEventListener("input", find);
  document.getElementById("less").addEventListener("click", () => { first -= PER_PAGE; fill(); });
  document.getElementById("more").addEventListener("click", () => { first += PER_PAGE; fill(); });
  fill();
})();
