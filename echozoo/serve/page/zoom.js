// Where the image lies on the stage: fitted, enlarged, moved; from the screen to pixels and back.

const MOST = 24; // times the fitted size

export class Zoom {
  constructor(canvas) {
    this.canvas = canvas;
    this.size = null;
    this.reset();
  }

  /** Size of the frames; pixels need not be square. */
  setFilm(width, height, spacing) {
    const [dy, dx] = spacing || [1, 1];
    this.size = { width, height, ratio: (width * dx) / (height * dy) };
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0.5; // the part of the image that is in the middle of the stage
  }

  /** Where the image lies on the canvas, in CSS pixels. */
  frame() {
    const { clientWidth, clientHeight } = this.canvas;
    const width = this.scale * Math.min(clientWidth, clientHeight * this.size.ratio);
    const height = width / this.size.ratio;
    return { x: clientWidth / 2 - this.x * width, y: clientHeight / 2 - this.y * height, width, height };
  }

  toScreen() {
    const at = this.frame();
    return new DOMMatrix([at.width / this.size.width, 0, 0, at.height / this.size.height, at.x, at.y]);
  }

  /** Enlarge by a factor; the point (x, y) of the canvas stays where it is. */
  by(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.frame();
    this.scale = Math.min(Math.max(this.scale * factor, 1), MOST);
    const after = this.frame();
    this.x = (x - before.x) / before.width + (this.canvas.clientWidth / 2 - x) / after.width;
    this.y = (y - before.y) / before.height + (this.canvas.clientHeight / 2 - y) / after.height;
    this.#keepInside();
  }

  /** Move the image by CSS pixels. */
  move(dx, dy) {
    const { width, height } = this.frame();
    this.x -= dx / width;
    this.y -= dy / height;
    this.#keepInside();
  }

  /** Something of the image stays in the middle of the stage; what is fitted stays where it is. */
  #keepInside() {
    const within = (value) => (this.scale === 1 ? 0.5 : Math.min(Math.max(value, 0), 1));
    this.x = within(this.x);
    this.y = within(this.y);
  }

  /** Place (x, y) on the image under the pointer; the middle of the first pixel is (0, 0). */
  place(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const at = this.frame();
    return {
      x: ((event.clientX - bounds.left - at.x) / at.width) * this.size.width - 0.5,
      y: ((event.clientY - bounds.top - at.y) / at.height) * this.size.height - 0.5,
    };
  }

  /** The pixel at a place, the nearest one where that is outside. */
  pixel({ x, y }) {
    const within = (value, size) => Math.min(Math.max(Math.floor(value + 0.5), 0), size - 1);
    return { x: within(x, this.size.width), y: within(y, this.size.height) };
  }

  isInside({ x, y }) {
    return x >= -0.5 && y >= -0.5 && x < this.size.width - 0.5 && y < this.size.height - 0.5;
  }
}
