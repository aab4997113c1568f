"use strict";
// Lays Plotly figures into the page's sections. Colours of runs are the same everywhere; text is only ever set as text.
(() => {
  const { runs, films } = JSON.parse(document.getElementById("data").textContent);
  const COLOURS = ["#1f77b4", "#e8710a", "#2ca02c", "#c2185b", "#7e57c2", "#8d6e63", "#0097a7", "#9e9d24"];
  const KINDS = { "true positive": "#2ca02c", "double detection": "#1f77b4", "wrong label": "#c2185b",
    localisation: "#e8710a", confusion: "#7e57c2", background: "#8a949e" };
  const several = runs.length > 1;
  const drawn = [];
  document.querySelectorAll(".dot").forEach((dot, at) => { dot.style.background = COLOURS[at % 8]; });

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const place = (section) => document.querySelector(`#${section} .plots`);
  const make = (tag, parent, set = {}) => parent.appendChild(Object.assign(document.createElement(tag), set));

  function layout(given) {
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
    const whole = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("text"), size: 12 },
      margin: { l: 48, r: 12, t: 34, b: 40 }, height: 280, hovermode: "closest", legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" }, ...given };
    if (whole.title) whole.title = { x: 0.01, xanchor: "left", font: { size: 14 }, ...whole.title };
    for (const key of Object.keys(whole)) if (/^[xy]axis/.test(key)) whole[key] = { ...axis, ...whole[key] };
    whole.xaxis ??= axis;
    whole.yaxis ??= axis;
    return whole;
  }
  // Plotly takes a few tags and links in any text for markup: every text given is escaped here, templates are ours
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  function plain(value, key = "") {
    if (typeof value === "string") return key === "hovertemplate" ? value : escaped(value);
    if (Array.isArray(value)) return value.map((one) => plain(one));
    return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one, name)])) : value;
  }
  function draw(box, data, given, remember = true) {
    Plotly.react(box, plain(data), plain(layout(given)), { displayModeBar: false, responsive: true });
    if (remember) {
      const known = drawn.find((item) => item.box === box);
      if (known) Object.assign(known, { data, given }); else drawn.push({ box, data, given });
    }
  }
  const figure = (section, data, given, wide = false) => draw(make("div", place(section), { className: wide ? "wide" : "" }), data, given);
  const short = (name) => ([...name].length > 24 ? `${[...name].slice(0, 23).join("")}…` : name);
  // names along an axis: long ones are cut, or they take the picture's room; what is equal then differs by what is unseen
  function ticks(names) {
    const seen = new Map();
    return names.map(short).map((name) => {
      const before = seen.get(name) ?? 0;
      seen.set(name, before + 1);
      return name + "\u200b".repeat(before);
    });
  }
  const percent = (value) => (value === null || value === undefined ? null : 100 * value);
  function choice(parent, label, names, changed) {
    const box = make("label", parent, { textContent: label });
    const select = make("select", box);
    names.forEach((name, at) => make("option", select, { textContent: name, value: at }));
    select.addEventListener("change", () => changed(Number(select.value)));
    return select;
  }

  function scores() {
    if (!place("scores")) return;
    const lines = [];
    runs.forEach((run, at) => {
      lines.push({ x: run.tious, y: run.scores[run.main].mAP.map(percent), name: run.label, mode: "lines+markers", line: { color: COLOURS[at % 8] } });
      if (run.printed && !lines.some((line) => line.name === `${run.facts.method}, published`)) {
        const known = run.tious.filter((tiou) => run.printed.values[String(tiou)] !== undefined);
        lines.push({ x: known, y: known.map((tiou) => Number(run.printed.values[String(tiou)])), name: `${run.facts.method}, published`,
          mode: "lines+markers", line: { color: COLOURS[at % 8], dash: "dot" }, marker: { symbol: "circle-open" } });
      }
    });
    figure("scores", lines, { title: { text: `mAP over tIoU (${runs[0].main})` }, xaxis: { title: { text: "tIoU" } }, yaxis: { title: { text: "mAP (%)" }, rangemode: "tozero" }, height: 360, showlegend: lines.length > 1 }, true);
  }

  function curves() {
    if (!place("curves")) return;
    const names = [...new Set(runs.flatMap((run) => (run.curves ? Object.keys(run.curves.series) : [])))];
    for (const name of names) {
      const lines = runs.filter((run) => run.curves && run.curves.series[name]).map((run) => ({ x: run.curves.epoch, y: run.curves.series[name], name: run.label, mode: "lines", line: { color: COLOURS[runs.indexOf(run) % 8] } }));
      figure("curves", lines, { title: { text: name }, xaxis: { title: { text: "epoch" } }, height: 240, showlegend: false });
    }
  }

  function classes() {
    if (!place("classes")) return;
    const order = [...runs[0].classes].sort((a, b) => mean(b.ap) - mean(a.ap)).map((one) => one.name);
    const bars = runs.map((run, at) => {
      const by = new Map(run.classes.map((one) => [one.name, one]));
      const rows = order.map((name) => by.get(name));
      return { type: "bar", x: ticks(order), y: rows.map((one) => (one ? percent(mean(one.ap)) : null)), name: run.label, marker: { color: COLOURS[at % 8] },
        customdata: rows.map((one, place) => [order[place], one?.instances ?? 0, one?.detections ?? 0]), hovertemplate: "%{customdata[0]}: %{y:.1f} %<br>%{customdata[1]} instances, %{customdata[2]} detections<extra></extra>" };
    });
    figure("classes", bars, { yaxis: { title: { text: "AP (%)" }, rangemode: "tozero" }, xaxis: { type: "category", tickangle: -40 }, height: 360, showlegend: several }, true);
  }
  function mean(values) {
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : 0;
  }

  function confusion() {
    const parent = place("confusion");
    const choices = make("div", parent, { className: "choices" });
    const box = make("div", parent, { className: "wide" });
    const show = (at) => {
      const { rows, columns, shares, videos } = runs[at].confusion;
      const side = Math.min(900, 120 + 22 * rows.length);
      draw(box, [{ type: "heatmap", x: ticks(columns), y: ticks(rows), z: shares.map((row) => row.map(percent)), zmin: 0, zmax: 100, colorscale: "Viridis",
        colorbar: { title: { text: "%" } }, customdata: shares.map((row, r) => row.map((_, c) => [rows[r], columns[c], videos[r]])), hovertemplate: "tag %{customdata[0]}, best detection %{customdata[1]}: %{z:.0f} % of %{customdata[2]} videos<extra></extra>" }],
      { xaxis: { type: "category", title: { text: "class of the best detection" }, tickangle: -40 }, yaxis: { type: "category", title: { text: "tag", standoff: 12 }, autorange: "reversed" }, height: side + 80 });
    };
    if (several) choice(choices, "run", runs.map((run) => run.label), show);
    show(0);
  }

  function errors() {
    if (!place("errors")) return;
    const parent = place("errors");
    const choices = make("div", parent, { className: "choices" });
    const profile = make("div", parent);
    const gains = make("div", parent);
    let run = 0;
    const tious = Object.keys(runs[0].errors.by_tiou);
    let tiou = Math.max(0, tious.indexOf("0.5"));
    const show = () => {
      const found = runs[run].errors.by_tiou[tious[tiou]];
      const steps = found.breakdown.map((_, at) => `${at + 1}G`);
      draw(profile, Object.keys(KINDS).map((kind) => ({ type: "bar", name: kind, x: steps, y: found.breakdown.map((step) => percent(step[kind])), marker: { color: KINDS[kind] } })),
        { barmode: "stack", title: { text: `best-ranked detections at tIoU ${tious[tiou]}` }, yaxis: { title: { text: "%" }, range: [0, 100] }, height: 380 });
      const kinds = Object.keys(found.gains);
      draw(gains, [{ type: "bar", x: kinds, y: kinds.map((kind) => percent(found.gains[kind])), marker: { color: kinds.map((kind) => KINDS[kind]) } }],
        { title: { text: "mAP gained if all of a kind were deleted" }, yaxis: { title: { text: "points" }, rangemode: "tozero" }, height: 380 });
    };
    if (several) choice(choices, "run", runs.map((one) => one.label), (at) => { run = at; show(); });
    choice(choices, "tIoU", tious, (at) => { tiou = at; show(); }).value = tiou;
    show();
    for (const title of Object.keys(runs[0].errors.buckets)) {
      const bars = runs.map((one, at) => ({ type: "bar", name: one.label, x: one.errors.buckets[title].map((bucket) => bucket.name), y: one.errors.buckets[title].map((bucket) => percent(bucket.mAP)),
        text: one.errors.buckets[title].map((bucket) => `${bucket.instances}`), marker: { color: COLOURS[at % 8] }, hovertemplate: "%{x}: %{y:.1f} %, %{text} instances<extra></extra>" }));
      figure("errors", bars, { title: { text: `normalised mAP by ${title}` }, yaxis: { title: { text: "%" }, rangemode: "tozero" }, uniformtext: { mode: "hide", minsize: 9 }, showlegend: several, height: 320 });
    }
  }

  function videos() {
    const parent = place("videos");
    const choices = make("div", parent, { className: "choices" });
    const box = make("div", parent, { className: "wide" });
    const film = make("video", parent, { className: "film", controls: true, hidden: true });
    let run = 0, at = 0, share = 0;
    const show = () => {
      const video = runs[run].videos[at];
      if (!video) return;
      const names = runs[run].names;
      const scores = video.found.map((row) => row[3]);
      const low = Math.min(...scores, 0), high = Math.max(...scores, 0);
      const bound = low + share * (high - low);
      const found = video.found.filter((row) => row[3] >= bound);
      const shown = [...new Set([...video.truth.map((row) => row[0]), ...found.map((row) => row[0])])].slice(0, 8);
      const rows = [];
      for (const label of shown) {
        rows.push({ label, truth: true, lane: video.truth.filter((row) => row[0] === label) });
        const lanes = [];
        for (const row of found.filter((one) => one[0] === label)) {
          let lane = lanes.find((one) => one.every((other) => row[2] <= other[1] || row[1] >= other[2]));
          if (!lane && lanes.length < 12) lanes.push((lane = []));
          if (lane) lane.push(row);
        }
        lanes.forEach((lane) => rows.push({ label, truth: false, lane }));
      }
      const top = rows.length;
      const bars = (kind) => {
        const chosen = rows.flatMap((row, y) => (row.truth === kind ? row.lane.map((one) => [...one, top - y]) : []));
        return { type: "bar", orientation: "h", name: kind ? "annotated" : "detected", base: chosen.map((one) => one[1]), x: chosen.map((one) => one[2] - one[1]), y: chosen.map((one) => one.at(-1)), width: kind ? 0.9 : 0.7,
          customdata: chosen.map((one) => [names[one[0]], one[1], one[2], kind ? "annotated" : `score ${one[3]}`]), hovertemplate: "%{customdata[0]}<br>%{customdata[1]:.2f} to %{customdata[2]:.2f} s<br>%{customdata[3]}<extra></extra>",
          marker: kind ? { color: "#2ca02c" } : { color: chosen.map((one) => one[3]), cmin: low, cmax: high, colorscale: [[0, "#5b8def"], [0.5, "#9b59b6"], [1, "#e0352b"]], colorbar: { title: { text: "score" }, thickness: 12 } } };
      };
      const first = new Map();
      rows.forEach((row, y) => { if (!first.has(row.label)) first.set(row.label, top - y); });
      draw(box, [bars(true), bars(false)], { title: { text: `${video.id}: ${video.score === null ? "" : `AP ${(100 * video.score).toFixed(1)} %, `}${found.length} of ${video.found.length} detections` }, barmode: "overlay", showlegend: false,
        xaxis: { title: { text: "seconds" }, range: [0, video.duration] }, yaxis: { tickvals: [...first.values()], ticktext: [...first.keys()].map((label) => short(names[label])), fixedrange: true, range: [0.3, top + 0.7] }, height: Math.max(220, 110 + 16 * top) });
      const address = films[video.id];
      film.hidden = !address;
      if (address && film.getAttribute("src") !== address) film.setAttribute("src", address);
    };
    if (several) choice(choices, "run", runs.map((one) => one.label), (value) => { run = value; fill(); show(); });
    const select = choice(choices, "video", [], (value) => { at = value; show(); });
    const fill = () => {
      const before = runs[run].videos[at]?.id;
      select.replaceChildren();
      runs[run].videos.forEach((video, number) => make("option", select, { value: number, textContent: video.id + (video.score === null ? "" : ` (${(100 * video.score).toFixed(0)} %)`) }));
      at = Math.max(0, runs[run].videos.findIndex((video) => video.id === before));
      select.value = at;
    };
    const slider = make("input", make("label", choices, { textContent: "score at least" }), { type: "range", min: 0, max: 1, step: 0.01, value: 0 });
    slider.addEventListener("input", () => { share = Number(slider.value); show(); });
    fill();
    at = runs[0].videos.length - 1;
    select.value = at;
    show();
    box.on("plotly_click", (event) => {
      if (film.hidden) return;
      film.currentTime = event.points[0].customdata[1];
      film.play();
    });
  }

  // a table that goes on beyond its frame fades where it does
  for (const frame of document.querySelectorAll(".scroll")) {
    const cue = () => {
      const rest = frame.scrollWidth - frame.clientWidth;
      frame.classList.toggle("wider", rest > 2);
      frame.classList.toggle("more", rest - frame.scrollLeft > 2);
    };
    frame.addEventListener("scroll", cue, { passive: true });
    new ResizeObserver(cue).observe(frame);
  }

  for (const part of [scores, curves, classes, confusion, errors, videos]) part();
  const again = () => drawn.forEach(({ box, data, given }) => draw(box, data, given, false));
  document.getElementById("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    again();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
})();
