"use strict";
// Text of records reaches the page through textContent and attributes alone: nothing in the data can become markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = document.getElementById("seed").namespaceURI;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/* ---- theme: follows the system until the reader chooses */
const root = document.documentElement;
const remembered = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a private window forgets: no harm */ }
});

/* ---- filters */
const filters = { protocol: "", supervision: "", selection: "", source: "", text: "" };
function fill(id, values) {
  const select = document.getElementById(id);
  for (const value of [...new Set(values)].filter(Boolean)) select.append(make("option", { value }, value));
}
fill("protocol", all(".chapter").flatMap((chapter) => JSON.parse(chapter.dataset.protocols)));
for (const name of ["supervision", "selection", "source"]) fill(name, all("tr[data-source]").map((line) => line.dataset[name]));

function matches(line, chapter) {
  return (!filters.supervision || line.dataset.supervision === filters.supervision)
    && (!filters.selection || line.dataset.selection === filters.selection)
    && (!filters.source || line.dataset.source === filters.source)
    && (!filters.text || line.dataset.text.includes(filters.text))
    && (!filters.protocol || JSON.parse(chapter.dataset.protocols).includes(filters.protocol)
        && (line.dataset.source === "published" || line.dataset.protocol === filters.protocol));
}

function refresh() {
  const shown = new Set();
  for (const chapter of all(".chapter")) {
    for (const part of all(".part", chapter)) {
      const chosen = part.querySelector("select.evaluator")?.value;
      for (const figure of all("figure:not(.overview)", part)) {
        let visible = 0;
        for (const line of all("tr[data-source]", figure)) {
          line.hidden = !matches(line, chapter);
          if (line.nextElementSibling?.className === "detail") line.nextElementSibling.hidden = line.hidden;
          if (!line.hidden) { visible += 1; shown.add(line.dataset.key || line.dataset.source + line.dataset.text); }
        }
        figure.hidden = visible === 0 || (figure.dataset.evaluator && figure.dataset.evaluator !== chosen);
        figure.dataset.visible = visible;
      }
      part.hidden = !all("figure", part).some((figure) => figure.dataset.visible > 0);
      drawOverview(part);
    }
    chapter.hidden = !all(".part", chapter).some((part) => !part.hidden);
  }
  document.getElementById("count").textContent = `${shown.size} rows`;
  document.getElementById("none").hidden = shown.size > 0;
  // notes are to published numbers
  for (const node of all(".printed")) node.hidden = !all('tr[data-source="published"]').some((line) => !line.hidden);
}
for (const name of Object.keys(filters)) {
  document.getElementById(name).addEventListener("input", (event) => {
    filters[name] = name === "text" ? event.target.value.trim().toLowerCase() : event.target.value;
    refresh();
  });
}
for (const select of all("select.evaluator")) select.addEventListener("input", refresh);
document.getElementById("reset").addEventListener("click", () => {
  for (const name of Object.keys(filters)) { filters[name] = ""; document.getElementById(name).value = ""; }
  refresh();
});

/* ---- sorting: rows that are not ranked stay below the others, missing values at the end */
function sortBy(head) {
  const table = head.closest("table");
  const column = [...head.parentElement.children].indexOf(head);
  const falling = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.className === "number";
  for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  for (const open of all("tr.detail", table)) closeDetail(open.previousElementSibling);
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((line) => {
    const cell = line.cells[column];
    const missing = cell.dataset.sort === undefined && cell.textContent === "-";
    const number = Number(cell.dataset.sort);
    const value = cell.dataset.sort === undefined ? cell.textContent : Number.isNaN(number) ? cell.dataset.sort : number;
    return { line, missing, value, shaded: line.className === "shaded" };
  });
  keyed.sort((a, b) => {
    if (a.shaded !== b.shaded) return a.shaded ? 1 : -1;
    if (a.missing !== b.missing) return a.missing ? 1 : -1;
    const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
    return falling ? -order : order;
  });
  body.append(...keyed.map((entry) => entry.line));
}
for (const button of all("thead button")) button.addEventListener("click", () => sortBy(button.parentElement));

/* ---- details of a row: curve, bars, seeds, comparison */
const percent = (value, digits = 1) => (100 * value).toFixed(digits);

/* an empty picture of mAP over tIoU: the frame, and where values lie in it */
function plane(series, xs, width, height) {
  const highest = Math.max(0.05, ...series.flatMap((s) => s.mean.map((v, i) => (v ?? 0) + (s.std?.[i] ?? 0))));
  const step = [0.02, 0.05, 0.1, 0.2].find((size) => highest / size <= 6) ?? 0.2;
  const top = Math.min(1, Math.ceil(highest / step) * step);
  const low = xs[0], span = xs[xs.length - 1] - low || 1;
  const x = (value) => 34 + (value - low) / span * (width - 48);
  const y = (value) => height - 44 - value / top * (height - 74);
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "mAP by tIoU" });
  for (let tick = 0; tick * step <= top + 1e-9; tick += 1) {
    const value = tick * step;
    picture.append(make("line", { class: "grid", x1: 34, x2: width - 10, y1: y(value), y2: y(value) }));
    picture.append(make("text", { x: 30, y: y(value) + 4, "text-anchor": "end" }, percent(value, 0)));
  }
  for (const value of xs) picture.append(make("text", { x: x(value), y: height - 26, "text-anchor": "middle" }, String(value)));
  picture.append(make("text", { x: x(low + span / 2), y: height - 6, "text-anchor": "middle" }, "tIoU"), make("text", { x: 0, y: 13 }, "mAP %"));
  return { picture, x, y };
}
const pointsOf = (s) => s.tious.map((value, i) => [value, s.mean[i]]).filter(([, value]) => value !== null && value !== undefined);

function curve(one, two) {
  const series = [one, two].filter(Boolean);
  const xs = one.tious;
  const { picture, x, y } = plane(series, xs, 360, 238);
  if (one.std?.every((value) => value !== null)) {
    const up = xs.map((value, i) => `${x(value)},${y((one.mean[i] ?? 0) + one.std[i])}`);
    const down = xs.map((value, i) => `${x(value)},${y(Math.max(0, (one.mean[i] ?? 0) - one.std[i]))}`).reverse();
    picture.append(make("path", { class: "band", d: `M${[...up, ...down].join("L")}Z` }));
  }
  series.forEach((s, index) => {
    const name = index ? "two" : "one";
    const points = pointsOf(s);
    if (!points.length) return;
    picture.append(make("path", { class: name, d: `M${points.map(([at, value]) => `${x(at)},${y(value)}`).join("L")}` }));
    for (const [at, value] of points) {
      const tip = `${s.name}: ${percent(value, 2)} at tIoU ${at}`;
      picture.append(make("circle", { class: `dot-${name}`, cx: x(at), cy: y(value), r: 3.5 }, make("title", {}, tip)));
    }
  });
  return picture;
}

/* all methods of a part in one picture: the best in colour, the rest thin; a name's button turns its colour on and off */
const COLOURED = 8;
function overview(all, title) {
  const series = all.filter((s) => pointsOf(s).length > 1);
  const xs = [...new Set(series.flatMap((s) => s.tious))].sort((a, b) => a - b);
  const { picture, x, y } = plane(series, xs, 560, 364);
  const colours = series.map((_, index) => (index < COLOURED ? index : null));
  const lines = series.map((s) => {
    const points = pointsOf(s);
    const line = make("g", { class: "method" }, make("path", { d: `M${points.map(([at, value]) => `${x(at)},${y(value)}`).join("L")}` }));
    for (const [at, value] of points) {
      const tip = `${s.name}: ${percent(value, 2)} at tIoU ${at}`;
      line.append(make("circle", { cx: x(at), cy: y(value), r: 3 }, make("title", {}, tip)));
    }
    return line;
  });
  const legend = make("div", { class: "names" });
  const buttons = series.map((s, index) => {
    const button = make("button", { type: "button" }, s.name);
    const near = (on) => { lines[index].classList.toggle("near", on); if (on) picture.append(lines[index]); };
    for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
      button.addEventListener(event, () => near(on));
    }
    button.addEventListener("click", () => {
      const free = [...Array(COLOURED).keys()].find((colour) => !colours.includes(colour));
      colours[index] = colours[index] === null ? free ?? index % COLOURED : null;
      paint();
    });
    legend.append(button);
    return button;
  });
  const paint = () => series.forEach((_, index) => {
    for (const node of [lines[index], buttons[index]]) {
      if (colours[index] === null) node.removeAttribute("data-colour");
      else node.dataset.colour = colours[index];
    }
    buttons[index].setAttribute("aria-pressed", String(colours[index] !== null));
    if (colours[index] === null) picture.querySelector(".method")?.before(lines[index]);
  });
  picture.append(...lines.reverse());
  lines.reverse();
  paint();
  return series.length > 1 ? make("figure", { class: "overview" }, make("figcaption", {}, title), picture, legend) : "";
}

/* the chart of a part: its ranked rows that the filters leave, by the chosen evaluator; or what papers print */
function drawOverview(part) {
  const place = part.querySelector(".place");
  if (!place) return;
  const chapter = part.closest(".chapter");
  if (place.dataset.dataset) {
    const half = (paper) => paper.mean[paper.tious.indexOf(0.5)] ?? -1;  // the one value that nearly all papers print
    const here = DATA.published.filter((paper) => paper.dataset === place.dataset.dataset && paper.supervision === "weak");
    const printed = here.sort((a, b) => half(b) - half(a));
    place.replaceChildren(overview(printed, "Published mAP over tIoU, weak supervision, best at 0.5 first; no ranks"));
    return;
  }
  const lines = all("tr[data-key]", part.querySelector("figure:not(.overview)"));
  const kept = lines.filter((line) => line.className !== "shaded" && matches(line, chapter)).map((line) => DATA.rows[line.dataset.key]);
  const chosen = part.querySelector("select.evaluator")?.value;
  const series = kept.filter((row) => row.evaluators[chosen]).map((row) => ({ name: row.name, tious: row.tious, ...row.evaluators[chosen] }));
  place.replaceChildren(overview(series, `mAP over tIoU by ${chosen}, mean over seeds, best first`));
}

function bars(one, two, classes) {
  const height = two ? 26 : 17;
  const highest = Math.max(0.05, ...[one, two].flatMap((values) => values ?? []).filter((value) => value !== null));
  const length = (value) => Math.max(1, value / highest * 190);
  const picture = make("svg", { viewBox: `0 0 360 ${classes.length * height + 6}`, role: "img", "aria-label": "AP by class" });
  classes.forEach((name, index) => {
    const line = index * height + 3;
    const label = name.length > 20 ? `${name.slice(0, 19)}…` : name;
    picture.append(make("text", { x: 122, y: line + height / 2 + 3, "text-anchor": "end" }, label));
    [one, two].forEach((values, place) => {
      const value = values?.[index];
      if (value === null || value === undefined) return;
      const size = two ? 11 : 13;
      const tip = `${name}: ${percent(value, 2)}`;
      const box = { class: place ? "bar-two" : "bar-one", x: 128, y: line + place * 12, width: length(value), height: size };
      picture.append(make("rect", box, make("title", {}, tip)));
      picture.append(make("text", { x: 132 + length(value), y: line + place * 12 + size - 2 }, percent(value)));
    });
  });
  return picture;
}

function verdict(one, two) {
  if (two.published) return "A published curve, for the eye alone: another evaluator, other features, other videos";
  if (!one.replicates || !two.replicates || one.draw !== two.draw || one.block !== two.block) {
    return "These two rows cannot be paired (no bootstrap stored, or other data)";
  }
  const videos = one.replicates.map((value, i) => (value - two.replicates[i]) / 1e5);
  const difference = one.average[one.main] - two.average[two.main];
  const factor = widening([one, two], variance(videos, 0));
  const wide = videos.map((value, i) => {
    const drawn = value + ((one.deviation?.[i] ?? 0) - (two.deviation?.[i] ?? 0)) / 1e5;
    return Math.min(1, Math.max(-1, difference + factor * (drawn - difference)));
  }).sort((a, b) => a - b);
  const at = (share) => {
    const place = share * (wide.length - 1), below = Math.floor(place), above = Math.ceil(place);
    return wide[below] + (wide[above] - wide[below]) * (place - below);
  };
  const low = at(0.025), high = at(0.975), sign = (value) => (value < 0 ? "" : "+") + percent(value, 2);
  const said = low > 0 || high < 0 ? "distinguishable" : "not distinguishable";
  const several = [one, two].filter((row) => row.values.length > 1).length;
  const over = ["videos only: one seed each", "videos, and the seeds of the one that has several", "videos and seeds"][several];
  return `${said}: ${sign(difference)} [${sign(low)}, ${sign(high)}] ${one.span} by ${one.main}, 95 % bootstrap over ${over}`;
}

function variance(values, lost) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - lost);
}

// as `difference.widening`: few seeds hardly tell their spread; its t / z is read off DATA.widening by 1 / freedom
function widening(rows, videos) {
  const parts = rows.filter((row) => row.values.length > 1)
    .map((row) => ({ part: variance(row.values, 1) / row.values.length, freedom: row.values.length - 1 }));
  const unsure = parts.reduce((sum, { part, freedom }) => sum + part ** 2 / freedom, 0);
  const total = videos + parts.reduce((sum, { part }) => sum + part, 0);
  if (unsure <= 1e-12 * total ** 2) return 1;
  const place = unsure / total ** 2 * (DATA.widening.length - 1), below = Math.min(Math.floor(place), DATA.widening.length - 2);
  return DATA.widening[below] + (DATA.widening[below + 1] - DATA.widening[below]) * (place - below);
}

/* the row seed by seed, as the tables print it */
function seeds(its, evaluator) {
  const { heads, evaluators } = its.seeds;
  const cells = (texts, tag) => texts.map((text, index) => make(index ? tag : "th", { class: index ? "number" : "text" }, text));
  const lines = evaluators[evaluator].map((texts) => make("tr", /^\d|^-/.test(texts[0]) ? {} : { class: "of-seeds" }, ...cells(texts, "td")));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...cells(heads, "th"))), make("tbody", {}, ...lines));
  const count = its.records.length;
  const said = count > 1 ? `${count} seeds; std is the sample standard deviation (n - 1)` : "one seed, which shows no spread";
  return make("div", { class: "seeds" }, make("h4", {}, `Seed by seed, ${evaluator}: ${said}`), make("div", { class: "scroll", tabindex: "0" }, table));
}

function panel(key, evaluator) {
  const row = DATA.rows[key];
  const name = row.evaluators[evaluator] ? evaluator : row.main;
  const box = make("div", { class: "panel" });
  const select = make("select", {}, make("option", { value: "" }, "nothing"));
  for (const [other, its] of Object.entries(DATA.rows)) {
    if (other !== key && its.protocol === row.protocol) select.append(make("option", { value: other }, `${its.name}, ${its.source}`));
  }
  DATA.published.forEach((paper, index) => {
    if (paper.dataset === row.dataset) select.append(make("option", { value: `published ${index}` }, `${paper.name}, published`));
  });
  const drawn = make("div");
  const series = (its, ev) => ({ name: its.name, tious: its.tious, ...its.evaluators[ev] });
  const draw = () => {
    const picked = select.value;
    const paper = picked.startsWith("published ") ? DATA.published[Number(picked.slice(10))] : null;
    const other = paper ? { ...paper, published: true } : DATA.rows[picked];
    const one = series(row, name);
    const two = paper ? paper : other ? series(other, other.evaluators[name] ? name : other.main) : null;
    const keys = make("p", { class: "verdict" }, make("strong", { class: "key-one" }, row.name));
    if (other) keys.append(" against ", make("strong", { class: "key-two" }, other.name), `. ${verdict(row, other)}.`);
    const classes = make("div", {}, make("h4", {}, "AP by class, mean over tIoUs"), bars(one.classes, two?.classes, row.classes));
    const charts = make("div", { class: "charts" }, make("div", {}, make("h4", {}, `mAP by tIoU, ${name}`), curve(one, two)), classes);
    drawn.replaceChildren(keys, charts);
  };
  select.addEventListener("input", draw);
  draw();
  const records = make("ul", {}, ...row.records.map((text) => make("li", {}, text)));
  box.append(make("p", { class: "settings" }, row.settings), seeds(row, name), records);
  box.append(make("label", { class: "choice" }, "compare with", select), drawn);
  return box;
}

function closeDetail(line) {
  if (line?.nextElementSibling?.className === "detail") line.nextElementSibling.remove();
  line?.querySelector("th button")?.setAttribute("aria-expanded", "false");
}
for (const head of all("tr[data-key] > th")) {
  const line = head.parentElement;
  const button = make("button", { type: "button", "aria-expanded": "false" }, ...head.childNodes);
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-expanded") === "true") { closeDetail(line); return; }
    const cell = make("td", { colspan: line.cells.length }, panel(line.dataset.key, line.closest("figure").dataset.evaluator));
    line.after(make("tr", { class: "detail" }, cell));
    all(".scroll", cell).forEach(watch);
    button.setAttribute("aria-expanded", "true");
  });
}

/* ---- a table that goes on beyond its frame fades where it does */
function cue(frame) {
  const rest = frame.scrollWidth - frame.clientWidth - frame.scrollLeft;
  frame.classList.toggle("more-right", rest > 2);
  frame.classList.toggle("more", frame.scrollWidth - frame.clientWidth > 2);
}
const sizes = new ResizeObserver((entries) => entries.forEach((entry) => cue(entry.target)));
function watch(frame) {
  frame.addEventListener("scroll", () => cue(frame), { passive: true });
  sizes.observe(frame);
}
all(".scroll").forEach(watch);
refresh();
