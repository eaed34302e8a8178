// Points and boxes that were given, by frame and structure.

export class Prompts {
  /** given: what the server has, [{frame, structure, points, labels, box}]. */
  constructor(given = []) {
    this.given = new Map(given.map(({ frame, structure, ...prompt }) => [`${frame}:${structure}`, prompt]));
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

  #set(frame, structure, value) {
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
    this.#set(frame, structure, { points: [], labels: [], box: null });
  }
}
