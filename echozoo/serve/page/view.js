// The picture: a frame, its masks and prompts, and what a tool shows.

import { listenToPointer } from "./pointer.js";
import { PointTool } from "./points.js";
import { Zoom } from "./zoom.js";

const FILL = 0.26;
const SHARP = 6; // CSS pixels of a pixel from which on its edges are shown

export class View extends EventTarget {
  /** Events, of the tools: "point" {x, y, background}, "box" {box}, "stroke" {points, radius, remove}. */
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.scene = null; // {frame, bitmap, masks: [{path, colour}], prompts: [{name, points, labels, box, colour}]}
    this.zoom = new Zoom(canvas);
    this.tool = new PointTool(this);
    this.removing = false;  // what a click or a stroke does without Shift
    this.structure = null;  // short name of the chosen one
    this.colour = null;
    this.cross = null;
    this.locked = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    listenToPointer(this);
  }

  tell(kind, detail) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

  show(scene) {
    this.scene = scene;
    this.draw();
  }

  /** The box of the chosen structure in this frame, or null. */
  chosenBox() {
    return this.scene?.prompts.find(({ name }) => name === this.structure)?.box ?? null;
  }

  draw() {
    if (!this.scene || !this.zoom.size) return;
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const at = this.zoom.frame();
    this.toScreen = this.zoom.toScreen();
    context.imageSmoothingEnabled = at.width / this.zoom.size.width < SHARP;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.scene.bitmap, at.x, at.y, at.width, at.height);
    this.#drawMasks();
    for (const prompt of this.scene.prompts) this.#drawPrompt(prompt);
    this.tool.draw(this);
    if (this.cross) this.#drawCross();
  }

  #drawMasks() {
    const { context } = this;
    const masks = this.scene.masks.map(({ path, colour }) => {
      const drawn = new Path2D();
      drawn.addPath(path, this.toScreen);
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
  }

  #drawPrompt({ name, points, labels, box, colour }) {
    const { context } = this;
    // What a tool changes of the chosen one, it shows itself.
    if (box && !(name === this.structure && this.tool.box)) this.box(box, colour);
    points.forEach(([x, y], index) => {
      const at = this.toScreen.transformPoint({ x: x + 0.5, y: y + 0.5 });
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
        this.#lined(cross, [[5, "#fff"], [2.5, colour]]);
      }
    });
  }

  #lined(path, strokes) {
    for (const [width, style] of strokes) {
      this.context.lineWidth = width;
      this.context.strokeStyle = style;
      this.context.stroke(path);
    }
  }

  #corners([x1, y1, x2, y2]) {
    const a = this.toScreen.transformPoint({ x: x1, y: y1 });
    const b = this.toScreen.transformPoint({ x: x2 + 1, y: y2 + 1 });
    return [a.x, a.y, b.x, b.y];
  }

  // ---- what tools draw with, in pixels of the image

  box(box, colour) {
    const [x1, y1, x2, y2] = this.#corners(box);
    const path = new Path2D();
    path.rect(x1, y1, x2 - x1, y2 - y1);
    this.context.setLineDash([6, 4]);
    this.#lined(path, [[3.5, "#000a"], [1.75, colour]]);
    this.context.setLineDash([]);
  }

  /** The corners and the middles of the edges of a box. */
  handles(box, colour, size) {
    const [x1, y1, x2, y2] = this.#corners(box);
    for (const [x, y] of [
      [x1, y1], [x2, y1], [x1, y2], [x2, y2],
      [(x1 + x2) / 2, y1], [(x1 + x2) / 2, y2], [x1, (y1 + y2) / 2], [x2, (y1 + y2) / 2],
    ]) {
      const path = new Path2D();
      path.rect(x - size, y - size, 2 * size, 2 * size);
      this.context.fillStyle = colour;
      this.context.fill(path);
      this.#lined(path, [[1.5, "#fff"]]);
    }
  }

  /** The pixels that a stroke covers: {marks, width, height, colour, remove}. */
  stroke({ marks, width, height, colour, remove }) {
    const covered = new OffscreenCanvas(width, height);
    const image = new ImageData(width, height);
    const [red, green, blue] = remove
      ? [0, 0, 0]
      : [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
    marks.forEach((mark, index) => {
      if (mark) image.data.set([red, green, blue, 150], 4 * index);
    });
    covered.getContext("2d").putImageData(image, 0, 0);
    const at = this.zoom.frame();
    const { imageSmoothingEnabled } = this.context;
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(covered, at.x, at.y, at.width, at.height);
    this.context.imageSmoothingEnabled = imageSmoothingEnabled;
  }

  /** The reach of a brush: round in pixels, which need not be square. */
  ring({ x, y }, radius, colour) {
    const at = this.toScreen.transformPoint({ x: x + 0.5, y: y + 0.5 });
    const path = new Path2D();
    path.ellipse(at.x, at.y, radius * this.toScreen.a, radius * this.toScreen.d, 0, 0, 2 * Math.PI);
    this.#lined(path, [[3.5, "#000a"], [1.5, this.removing ? "#fff" : colour]]);
  }

  #drawCross() {
    const at = this.toScreen.transformPoint({ x: this.cross.x + 0.5, y: this.cross.y + 0.5 });
    const lines = new Path2D(
      `M${at.x - 14} ${at.y}h10m8 0h10M${at.x} ${at.y - 14}v10m0 8v10`,
    );
    this.#lined(lines, [[4, "#000c"], [1.75, "#fff"]]);
  }
}
