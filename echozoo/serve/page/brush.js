// The brush: a stroke gives pixels to the structure, or takes them from it.

import { PointTool } from "./points.js";

const MOST_POINTS = 500; // of a stroke; the server takes some more

/**
 * Mark the pixels whose centres are no farther than `radius` from the line between two points.
 * The server's rule (strokes.py), in the same order of operations; marks: Uint8Array, row by row.
 */
export function cover(marks, width, height, [x1, y1], [x2, y2], radius) {
  const left = Math.max(Math.ceil(Math.min(x1, x2) - radius), 0);
  const right = Math.min(Math.floor(Math.max(x1, x2) + radius), width - 1);
  const top = Math.max(Math.ceil(Math.min(y1, y2) - radius), 0);
  const bottom = Math.min(Math.floor(Math.max(y1, y2) + radius), height - 1);
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const [x, y] = [column - x1, row - y1];
      const along = length ? Math.min(Math.max((x * dx + y * dy) / length, 0), 1) : 0;
      const [offX, offY] = [x - along * dx, y - along * dy];
      if (offX * offX + offY * offY <= radius * radius) marks[row * width + column] = 1;
    }
  }
}

const quarter = (value) => Math.round(value * 4) / 4; // what both sides compute with is exact

export class BrushTool extends PointTool {
  constructor(view) {
    super(view);
    this.radius = 4;
    this.at = null;   // under the pointer
    this.wet = [];    // strokes that the server has not answered: {frame, points, radius, remove, colour, marks, …}
    this.stroke = null;
  }

  #begin(place, remove) {
    const { width, height } = this.view.zoom.size;
    const point = [quarter(place.x), quarter(place.y)];
    const { radius, view: { colour, scene: { frame } } } = this;
    const marks = new Uint8Array(width * height);
    this.stroke = { frame, points: [point], radius, remove, colour, marks, width, height };
    cover(this.stroke.marks, width, height, point, point, radius);
    this.wet.push(this.stroke);
  }

  press(place, drag) {
    this.#begin(place, drag.remove);
    this.at = place;
    return true;
  }

  move(place) {
    const { points, radius, marks, width, height } = this.stroke;
    const point = [quarter(place.x), quarter(place.y)];
    const last = points[points.length - 1];
    this.at = place;
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) < Math.max(0.5, radius / 4)) return;
    cover(marks, width, height, last, point, radius);
    points.push(point);
    if (points.length === MOST_POINTS) { // another stroke goes on where this one ends
      const { remove } = this.stroke;
      this.release();
      this.#begin(place, remove);
    }
  }

  release() {
    const { stroke } = this;
    this.stroke = null;
    this.view.tell("stroke", stroke);
  }

  cancel() {
    this.dry(this.stroke);
    this.stroke = null;
  }

  /** The server has answered: its masks show the stroke now. */
  dry(stroke) { this.wet = this.wet.filter((one) => one !== stroke); }

  /** By keys: a dab. */
  tap(place, remove) {
    this.#begin(place, remove);
    this.release();
  }

  hover(place) { this.at = place; }

  draw(draw) {
    const { cross } = this.view;
    for (const stroke of this.wet) if (stroke.frame === this.view.scene.frame) draw.stroke(stroke);
    const at = cross ?? this.at;
    if (at) draw.ring(at, this.radius, this.view.colour);
  }
}
