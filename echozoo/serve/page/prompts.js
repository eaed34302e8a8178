// Points and boxes that were given, by frame and structure, and how to take them back.

export class Prompts {
  /** given: what the server has, [{frame, structure, points, labels, box}]. */
  constructor(given = []) {
    this.given = new Map(given.map(({ frame, structure, ...prompt }) => [`${frame}:${structure}`, prompt]));
    this.history = [];
  }

  get(frame, structure) {
    return this.given.get(`${frame}:${structure}`) ?? { points: [], labels: [], box: null };
  }

  has(frame, structure) {
    const { points, box } = this.get(frame, structure);
    return points.length > 0 || box !== null;
  }

  get any() {
    return [...this.given.values()].some(({ points, box }) => points.length > 0 || box !== null);
  }

  get canUndo() {
    return this.history.length > 0;
  }

  #set(frame, structure, value) {
    this.history.push({ frame, structure, before: this.get(frame, structure) });
    this.given.set(`${frame}:${structure}`, value);
  }

  addPoint(frame, structure, point, label) {
    const { points, labels, box } = this.get(frame, structure);
    this.#set(frame, structure, { points: [...points, point], labels: [...labels, label], box });
  }

  setBox(frame, structure, box) {
    this.#set(frame, structure, { ...this.get(frame, structure), box });
  }

  clear(frame, structure) {
    if (this.has(frame, structure)) {
      this.#set(frame, structure, { points: [], labels: [], box: null });
    }
  }

  /** Take the last change back; returns its {frame, structure}, or undefined. */
  undo() {
    const last = this.history.pop();
    if (last) this.given.set(`${last.frame}:${last.structure}`, last.before);
    return last;
  }
}
