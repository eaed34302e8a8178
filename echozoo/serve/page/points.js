// The point tool: a tap is a point of the structure, or of what is not.

export class PointTool {
  constructor(view) { this.view = view; }

  press() { return false; }
  move() {}
  release() {}
  cancel() {}
  hover() {}
  draw() {}

  tap(place, remove) {
    const { x, y } = this.view.zoom.pixel(place);
    this.view.tell("point", { x, y, background: remove });
  }
}
