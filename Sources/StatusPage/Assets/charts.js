// Small charts in SVG. Everything is drawn by attributes and text nodes, so that a strict content security policy holds and
// no name can become markup.

const NS = "http://www.w3.org/2000/svg";

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** At most `count` round numbers from 0 to at least `max`. */
export function ticks(max, count) {
  const raw = Math.max(max, 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw));
  const result = [];
  for (let value = 0; value < max + step; value += step) result.push(value);
  return result;
}

const clock = (seconds, withSeconds = false) => new Date(seconds * 1000).toLocaleTimeString([], withSeconds
  ? { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** The path of values that hold until the next one; null is a gap. */
function stepPath(at, values, x, y, end) {
  let path = "";
  let open = false;
  for (let i = 0; i < at.length; i++) {
    const until = x(i + 1 < at.length ? at[i + 1] : end);
    if (values[i] === null) { open = false; continue; }
    const height = y(values[i]).toFixed(1);
    path += open ? `V${height}` : `M${x(at[i]).toFixed(1)} ${height}`;
    path += `H${until.toFixed(1)}`;
    open = true;
  }
  return path;
}

/** The same as a closed area down to `base` (or up to it). */
function stepArea(at, values, x, y, end, base) {
  let path = "";
  for (let i = 0; i < at.length; i++) {
    if (values[i] === null) continue;
    const [left, right] = [x(at[i]).toFixed(1), x(i + 1 < at.length ? at[i + 1] : end).toFixed(1)];
    const height = y(values[i]).toFixed(1);
    path += `M${left} ${base}V${height}H${right}V${base}Z`;
  }
  return path;
}

/** The points from `start` on, with the one before it moved to `start`, so that its value isn't lost. */
export function clip(points, start) {
  let first = 0;
  while (first + 1 < points.at.length && points.at[first + 1] <= start) first++;
  const result = {};
  for (const [name, values] of Object.entries(points)) result[name] = values.slice(first);
  if (result.at.length > 0) result.at[0] = Math.max(result.at[0], start);
  return result;
}

/**
 * The chart of a fleet: workers as an area, demand, what the budget allows, and what was decided as lines. What was known
 * last is drawn up to `end`.
 * `hover(index)` is told which point the pointer is at; null: none.
 */
export function replicasChart(box, all, { span, now, end, series, max, label, hover }) {
  const width = Math.max(box.clientWidth, 260);
  const height = width < 520 ? 230 : 380;
  const [left, right, top, bottom] = [34, 10, 10, 24];
  // A history that is younger than the span fills the chart; it must be a few minutes long to mean something.
  const oldest = all.at.length > 0 ? all.at[0] : now;
  const start = Math.max(now - span, Math.min(oldest, now - 120));
  const points = clip(all, start);
  const peak = (list) => Math.max(4, ...list.flatMap((s) => points[s.key].filter((v) => v !== null)));
  // A demand of hundreds, or a budget for them, must not press the fleet of ten to the ground: beyond twice the fleet they
  // leave the chart at its top.
  const scaleTo = Math.min(peak(series), 2.2 * peak(series.filter((s) => s.isFleet)));
  const beyond = peak(series.filter((s) => s.key === "demand"));
  const marks = ticks(scaleTo, height < 240 ? 4 : 6);
  const highest = marks[marks.length - 1];
  const x = (t) => left + (t - start) / (now - start) * (width - left - right);
  const y = (v) => top + (1 - Math.min(v, highest) / highest) * (height - top - bottom);
  const leaving = (v) => (v > highest ? -12 : y(v));
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, class: "plot" });
  for (const mark of marks) {
    root.append(svg("line", { x1: left, x2: width - right, y1: y(mark), y2: y(mark), class: mark === 0 ? "axis" : "gridline" }),
      svg("text", { x: left - 7, y: y(mark) + 4, class: "tick", "text-anchor": "end" }, String(mark)));
  }
  const count = Math.max(2, Math.floor((width - left) / 95));
  const rough = (now - start) / count;
  const step = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((s) => s >= rough) ?? 14400;
  for (let t = Math.ceil(start / step) * step; t <= now; t += step) {
    if (x(t) < left + 14 || x(t) > width - right - 16) continue;
    root.append(svg("text", { x: x(t), y: height - 6, class: "tick", "text-anchor": "middle" }, clock(t, step < 60)));
  }
  if (max !== null && max <= highest) {
    root.append(svg("line", { x1: left, x2: width - right, y1: y(max), y2: y(max), class: "bound" }),
      svg("text", { x: left + 6, y: y(max) - 5, class: "tick" }, `maxReplicas ${max}`));
  }
  if (beyond > highest) {
    root.append(svg("text", { x: left + 6, y: top + 14, class: "tick" }, `demand up to ${beyond}`));
  }
  for (const s of series) {
    if (s.area === "below") root.append(svg("path", { d: stepArea(points.at, points[s.key], x, y, end, y(0)), class: `area ${s.key}` }));
    if (s.area === "above") root.append(svg("path", { d: stepArea(points.at, points[s.key], x, y, end, top), class: `area ${s.key}` }));
  }
  for (const s of series) root.append(svg("path", { d: stepPath(points.at, points[s.key], x, leaving, end), class: `line ${s.key}` }));
  if (points.at.length === 0) {
    root.append(svg("text", { x: (left + width) / 2, y: height / 2, class: "note", "text-anchor": "middle" }, "Curves begin with the first decision."));
  }
  const cursor = svg("line", { y1: top, y2: height - bottom, class: "cursor", visibility: "hidden" });
  root.append(cursor);
  const offset = all.at.length - points.at.length;
  root.addEventListener("pointermove", (event) => {
    if (points.at.length === 0) return;
    const frame = root.getBoundingClientRect();
    const px = Math.min(Math.max((event.clientX - frame.left) * width / frame.width, left), width - right);
    const t = start + (px - left) / (width - left - right) * (now - start);
    let index = 0;
    while (index + 1 < points.at.length && points.at[index + 1] <= t) index++;
    cursor.setAttribute("x1", px);
    cursor.setAttribute("x2", px);
    cursor.setAttribute("visibility", "visible");
    hover(offset + index, t);
  });
  root.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hover(null); });
  box.replaceChildren(root);
}

/**
 * A line without axes. `band` shades from `band.lower` to `band.upper`; `floor` is the least height of the scale.
 */
export function sparkline(box, all, key, { span, now, band, floor, label, kind }) {
  const width = Math.max(box.clientWidth, 80);
  const height = box.clientHeight || 44;
  const oldest = all.at.length > 0 ? all.at[0] : now;
  const start = Math.max(now - span, Math.min(oldest, now - 120));
  const points = clip(all, start);
  const values = points[key] ?? [];
  const highest = Math.max(floor, ...values.filter((v) => v !== null)) * 1.08;
  const x = (t) => (t - start) / (now - start) * (width - 6);
  const y = (v) => 2 + (1 - v / highest) * (height - 4);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, class: "spark" });
  if (band) {
    root.append(svg("rect", { x: 0, width: width - 6, y: y(band.upper), height: Math.max(1, y(band.lower) - y(band.upper)), class: "band" }),
      svg("line", { x1: 0, x2: width - 6, y1: y(band.upper), y2: y(band.upper), class: "band-edge" }));
  }
  root.append(svg("line", { x1: 0, x2: width - 6, y1: y(0), y2: y(0), class: "gridline" }),
    svg("path", { d: stepArea(points.at, values, x, y, now, y(0)), class: `area ${kind}` }),
    svg("path", { d: stepPath(points.at, values, x, y, now), class: `line ${kind}` }));
  const last = values[values.length - 1];
  if (last !== null && last !== undefined) root.append(svg("circle", { cx: width - 6, cy: y(last), r: 3, class: `end ${kind}` }));
  box.replaceChildren(root);
}
