// The picture: a frame, its masks and prompts, and what the pointer does on it.

const FILL = 0.26;
const DRAG = 4; // screen pixels before a press with the box tool becomes a box

export class View extends EventTarget {
  /** Events: "point" {x, y, background}, "box" {box}. */
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.scene = null; // {bitmap, masks: [{path, colour}], prompts: [{points, labels, box, colour}]}
    this.size = null;
    this.tool = "points";
    this.cross = null;
    this.locked = false;
    this.drag = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
  }

  /** Size of the frames; pixels need not be square. */
  setFilm(width, height, spacing) {
    const [dy, dx] = spacing || [1, 1];
    this.size = { width, height, ratio: (width * dx) / (height * dy) };
  }

  show(scene) {
    this.scene = scene;
    this.draw();
  }

  /** Where the image lies on the canvas, in CSS pixels. */
  frame() {
    const { clientWidth, clientHeight } = this.canvas;
    const width = Math.min(clientWidth, clientHeight * this.size.ratio);
    const height = width / this.size.ratio;
    return { x: (clientWidth - width) / 2, y: (clientHeight - height) / 2, width, height };
  }

  draw() {
    if (!this.scene || !this.size) return;
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const at = this.frame();
    const toScreen = new DOMMatrix([
      at.width / this.size.width, 0, 0, at.height / this.size.height, at.x, at.y,
    ]);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.scene.bitmap, at.x, at.y, at.width, at.height);
    const masks = this.scene.masks.map(({ path, colour }) => {
      const drawn = new Path2D();
      drawn.addPath(path, toScreen);
      return { drawn, colour };
    });
    for (const { drawn, colour } of masks) {
      context.globalAlpha = FILL;
      context.fillStyle = colour;
      context.fill(drawn, "evenodd");
    }
    context.globalAlpha = 1;
    context.lineJoin = "round";
    // In reverse: where two structures meet, the cavity's outline stays visible.
    for (const { drawn, colour } of masks.reverse()) {
      context.lineWidth = 2;
      context.strokeStyle = colour;
      context.stroke(drawn);
    }
    for (const prompt of this.scene.prompts) this.#drawPrompt(prompt, toScreen);
    if (this.drag?.box) this.#drawBox(this.drag.box, this.drag.colour, toScreen);
    if (this.cross) this.#drawCross(toScreen);
  }

  #drawPrompt({ points, labels, box, colour }, toScreen) {
    const { context } = this;
    if (box) this.#drawBox(box, colour, toScreen);
    points.forEach(([x, y], index) => {
      const at = toScreen.transformPoint({ x: x + 0.5, y: y + 0.5 });
      if (labels[index]) {
        context.beginPath();
        context.arc(at.x, at.y, 5.5, 0, 2 * Math.PI);
        context.fillStyle = colour;
        context.fill();
        context.lineWidth = 2;
        context.strokeStyle = "#fff";
        context.stroke();
      } else {
        const cross = new Path2D(
          `M${at.x - 5} ${at.y - 5}l10 10M${at.x + 5} ${at.y - 5}l-10 10`,
        );
        for (const [width, style] of [[5, "#fff"], [2.5, colour]]) {
          context.lineWidth = width;
          context.strokeStyle = style;
          context.stroke(cross);
        }
      }
    });
  }

  #drawBox([x1, y1, x2, y2], colour, toScreen) {
    const { context } = this;
    const a = toScreen.transformPoint({ x: x1, y: y1 });
    const b = toScreen.transformPoint({ x: x2 + 1, y: y2 + 1 });
    context.setLineDash([6, 4]);
    for (const [width, style] of [[3.5, "#000a"], [1.75, colour]]) {
      context.lineWidth = width;
      context.strokeStyle = style;
      context.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
    }
    context.setLineDash([]);
  }

  #drawCross(toScreen) {
    const { context } = this;
    const at = toScreen.transformPoint({ x: this.cross.x + 0.5, y: this.cross.y + 0.5 });
    const lines = new Path2D(
      `M${at.x - 14} ${at.y}h10m8 0h10M${at.x} ${at.y - 14}v10m0 8v10`,
    );
    for (const [width, style] of [[4, "#000c"], [1.75, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke(lines);
    }
  }

  /** Pixel of the image under the pointer; null outside unless it is to be moved to the edge. */
  pixel(event, toEdge = false) {
    const bounds = this.canvas.getBoundingClientRect();
    const at = this.frame();
    const { width, height } = this.size;
    const x = Math.floor(((event.clientX - bounds.left - at.x) / at.width) * width);
    const y = Math.floor(((event.clientY - bounds.top - at.y) / at.height) * height);
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    if (!inside && !toEdge) return null;
    return {
      x: Math.min(Math.max(x, 0), width - 1),
      y: Math.min(Math.max(y, 0), height - 1),
    };
  }

  #press(event) {
    if (!this.scene || this.locked || event.button > 2) return;
    const at = this.pixel(event);
    if (!at) return;
    if (this.tool === "boxes" && event.button === 0 && !event.shiftKey) {
      this.canvas.setPointerCapture(event.pointerId);
      this.drag = { at, x: event.clientX, y: event.clientY, box: null, colour: this.colour };
      return;
    }
    this.click(at.x, at.y, event.button === 2 || event.shiftKey);
  }

  click(x, y, background) {
    this.dispatchEvent(new CustomEvent("point", { detail: { x, y, background } }));
  }

  #move(event) {
    if (!this.drag) return;
    const far = Math.hypot(event.clientX - this.drag.x, event.clientY - this.drag.y) > DRAG;
    if (!far && !this.drag.box) return;
    const { x, y } = this.pixel(event, true);
    const from = this.drag.at;
    this.drag.box = [
      Math.min(from.x, x), Math.min(from.y, y), Math.max(from.x, x), Math.max(from.y, y),
    ];
    this.draw();
  }

  #release() {
    if (!this.drag) return;
    const { box } = this.drag;
    this.drag = null;
    if (box && box[0] < box[2] && box[1] < box[3]) {
      this.dispatchEvent(new CustomEvent("box", { detail: { box } }));
    } else {
      this.draw();
    }
  }
}
