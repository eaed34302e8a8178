// The box tool: draw a box, move it by its inside, resize it by its edges and corners.

import { PointTool } from "./points.js";

const NEAR = { false: 7, true: 18 }; // CSS pixels from an edge, for a mouse and for a finger
const HANDLE = 4;

const CURSORS = {
  "-1,-1": "nwse-resize", "1,1": "nwse-resize", "1,-1": "nesw-resize", "-1,1": "nesw-resize",
  "-1,0": "ew-resize", "1,0": "ew-resize", "0,-1": "ns-resize", "0,1": "ns-resize", "0,0": "move",
};

export class BoxTool extends PointTool {
  constructor(view) {
    super(view);
    this.box = null;    // that is being drawn, moved or resized
    this.corner = null; // the first of two that are set by keys
  }

  /** What is under a place: {sx, sy}, -1 or 1 for an edge, both 0 for the inside; null outside. */
  #grip(place, touch) {
    const box = this.view.chosenBox();
    if (!box) return null;
    const at = this.view.zoom.frame();
    const near = NEAR[Boolean(touch)];
    const nearX = (near / at.width) * this.view.zoom.size.width;
    const nearY = (near / at.height) * this.view.zoom.size.height;
    const [x1, y1, x2, y2] = [box[0] - 0.5, box[1] - 0.5, box[2] + 0.5, box[3] + 0.5];
    const { x, y } = place;
    if (x < x1 - nearX || x > x2 + nearX || y < y1 - nearY || y > y2 + nearY) return null;
    const side = (value, low, high, reach) => {
      const [toLow, toHigh] = [Math.abs(value - low), Math.abs(value - high)];
      if (Math.min(toLow, toHigh) > Math.min(reach, (high - low) / 3)
        && value > low && value < high) return 0;
      return toLow < toHigh ? -1 : 1;
    };
    return { sx: side(x, x1, x2, nearX), sy: side(y, y1, y2, nearY) };
  }

  press(place, drag) {
    if (drag.remove) return false;
    this.start = this.view.zoom.pixel(place);
    this.grip = this.#grip(place, drag.touch);
    this.before = this.grip ? this.view.chosenBox() : null;
    return true;
  }

  move(place, drag) {
    if (!drag.moved) return;
    const { width, height } = this.view.zoom.size;
    const { x, y } = this.view.zoom.pixel(place);
    if (!this.grip) {
      this.box = ordered(this.start.x, this.start.y, x, y);
      return;
    }
    const [x1, y1, x2, y2] = this.before;
    const { sx, sy } = this.grip;
    const within = (shift, low, high, size) => Math.min(Math.max(shift, -low), size - 1 - high);
    const [dx, dy] = [x - this.start.x, y - this.start.y];
    if (!sx && !sy) {
      const [mx, my] = [within(dx, x1, x2, width), within(dy, y1, y2, height)];
      this.box = [x1 + mx, y1 + my, x2 + mx, y2 + my];
      return;
    }
    const edge = (value, shift, size) => Math.min(Math.max(value + shift, 0), size - 1);
    this.box = ordered(
      sx < 0 ? edge(x1, dx, width) : x1, sy < 0 ? edge(y1, dy, height) : y1,
      sx > 0 ? edge(x2, dx, width) : x2, sy > 0 ? edge(y2, dy, height) : y2,
    );
  }

  release() {
    const { box } = this;
    this.cancel();
    this.#give(box);
  }

  cancel() { this.box = this.grip = null; }

  /** By keys: one corner, then the other. */
  tap(place, remove) {
    if (remove) {
      super.tap(place, true);
      return;
    }
    const { x, y } = this.view.zoom.pixel(place);
    const { corner } = this;
    this.corner = corner ? null : { x, y };
    if (corner) this.#give(ordered(corner.x, corner.y, x, y));
  }

  #give(box) {
    if (box && box[0] < box[2] && box[1] < box[3]) this.view.tell("box", { box });
  }

  hover(place) {
    const grip = place && this.#grip(place, false);
    this.view.canvas.style.cursor = grip ? CURSORS[`${grip.sx},${grip.sy}`] : "";
  }

  draw(draw) {
    const { cross } = this.view;
    const box = this.box ?? (this.corner && cross && ordered(this.corner.x, this.corner.y, cross.x, cross.y));
    if (box) draw.box(box, this.view.colour);
    const handles = box ?? this.view.chosenBox();
    if (handles) draw.handles(handles, this.view.colour, HANDLE);
  }
}

const ordered = (x1, y1, x2, y2) => [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
