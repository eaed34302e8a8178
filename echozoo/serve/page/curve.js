// Area of each structure over the frames, as SVG.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 40, RIGHT = 12, TOP = 18, BOTTOM = 20;

function element(parent, name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** A round step that divides a range into at most four. */
function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => range / step <= 4);
}

const digits = (value) => value.toFixed(value < 10 ? 1 : 0);

export class Curve extends EventTarget {
  /** Event: "frame" {frame}, where someone clicks or drags. */
  constructor(box) {
    super();
    this.box = box;
    this.frame = 0;
    this.data = null;
    new ResizeObserver(() => this.draw()).observe(box);
    const seek = (event) => {
      if (!this.data || !(event.buttons & 1)) return;
      const x = event.clientX - box.getBoundingClientRect().left;
      const share = (x - LEFT) / (box.clientWidth - LEFT - RIGHT);
      const last = this.data.frames - 1;
      const frame = Math.min(Math.max(Math.round(share * last), 0), last);
      this.dispatchEvent(new CustomEvent("frame", { detail: { frame } }));
    };
    box.addEventListener("pointerdown", seek);
    box.addEventListener("pointermove", seek);
  }

  /**
   * data: {frames, unit, lines: [{title, colour, values}], marks: [{frame, text}], flags: [[text]] by
   * frame, corrected: [frame]}
   */
  show(data) {
    this.data = data;
    const told = data.lines.map(({ title, values }) => {
      const known = values.filter((value) => value !== null);
      return `${title} ${digits(Math.min(...known))} to ${digits(Math.max(...known))} ${data.unit}` +
        ` in ${known.length} of ${data.frames} frames`;
    });
    const marks = data.marks.map(({ frame, text }) => `${text} at frame ${frame + 1}`);
    const flagged = data.flags.filter((flags) => flags.length).length;
    if (flagged) marks.push(`${flagged} ${flagged === 1 ? "frame" : "frames"} flagged`);
    this.box.setAttribute("aria-label", [...told, ...marks].join("; ") || "No areas yet");
    this.draw();
  }

  clear() {
    this.data = null;
    this.box.setAttribute("aria-label", "No areas yet");
    this.draw();
  }

  at(frame) {
    this.frame = frame;
    this.#placeHead();
  }

  #x(frame) {
    const width = this.box.clientWidth - LEFT - RIGHT;
    const last = this.data.frames - 1;
    return LEFT + (last ? (frame / last) * width : width / 2);
  }

  #placeHead() {
    if (!this.head) return;
    const x = this.#x(this.frame);
    this.head.setAttribute("x1", x);
    this.head.setAttribute("x2", x);
  }

  draw() {
    this.box.replaceChildren();
    this.head = null;
    const width = this.box.clientWidth, height = this.box.clientHeight;
    if (!this.data || !width) return;
    const svg = element(this.box, "svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const all = this.data.lines.flatMap(({ values }) => values).filter((value) => value !== null);
    const top = Math.max(...all, 1e-9) * 1.05;
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    const step = roundStep(top);
    for (let value = 0; value <= top; value += step) {
      element(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) });
      element(svg, "text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, +value.toFixed(6));
    }
    this.#frameNumbers(svg, height);
    for (const { frame, text } of this.data.marks) {
      const x = this.#x(frame);
      element(svg, "line", { class: "mark", x1: x, x2: x, y1: TOP - 4, y2: height - BOTTOM });
      element(svg, "text", { class: "mark-text", x, y: TOP - 7, "text-anchor": "middle" }, text);
    }
    for (const { colour, values } of this.data.lines) this.#line(svg, values, colour, y);
    this.#frameMarks(svg, height);
    this.head = element(svg, "line", { class: "head", y1: TOP - 4, y2: height - BOTTOM });
    this.#placeHead();
  }

  /** A triangle at the top of each flagged frame, a tick below each corrected one. */
  #frameMarks(svg, height) {
    this.data.flags.forEach((flags, frame) => {
      if (!flags.length) return;
      const x = this.#x(frame);
      const mark = element(svg, "polygon", { class: "flag", points: `${x - 4},${TOP - 3} ${x + 4},${TOP - 3} ${x},${TOP + 4}` });
      element(mark, "title", {}, `Frame ${frame + 1}: ${flags.join("; ")}`);
    });
    for (const frame of this.data.corrected) {
      const x = this.#x(frame);
      element(svg, "line", { class: "corrected", x1: x, x2: x, y1: height - BOTTOM, y2: height - BOTTOM + 5 });
    }
  }

  #frameNumbers(svg, height) {
    const last = this.data.frames - 1;
    const shown = new Set([0, last]);
    const step = last > 8 ? Math.max(1, roundStep(last)) : 1;
    for (let number = step; number < last; number += step) {
      // The number before the last one is left out where the two would touch.
      if (this.#x(last) - this.#x(number - 1) > 30) shown.add(number - 1);
    }
    for (const frame of shown) {
      element(svg, "text", { x: this.#x(frame), y: height - 5, "text-anchor": "middle" }, frame + 1);
    }
  }

  #line(svg, values, colour, y) {
    let path = "", open = false;
    values.forEach((value, frame) => {
      if (value === null) { open = false; return; }
      const alone = !open && (values[frame + 1] ?? null) === null;
      const x = this.#x(frame);
      if (alone) element(svg, "circle", { cx: x, cy: y(value), r: 3, fill: colour });
      path += `${open ? "L" : "M"}${x.toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
    });
    element(svg, "path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "stroke-linejoin": "round" });
  }
}
