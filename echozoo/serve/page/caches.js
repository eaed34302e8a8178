// What was fetched of a film: pictures and outlines of the frames near the one that is shown.

import { outline } from "./contours.js";

const PICTURE_BYTES = 256 * 2 ** 20;
const CHUNK = 16; // frames whose masks are asked for at once
const AHEAD = 8;

/** Pictures of the frames; the ones that were not used for longest go first. */
export class Pictures {
  constructor(film) {
    this.film = film;
    this.most = Math.max(24, Math.floor(PICTURE_BYTES / (film.width * film.height * 4)));
    this.kept = new Map(); // frame -> promise of a bitmap
  }

  get(frame) {
    let picture = this.kept.get(frame);
    this.kept.delete(frame); // put it last
    if (!picture) {
      picture = this.film.picture(frame);
      picture.catch(() => this.kept.delete(frame));
    }
    this.kept.set(frame, picture);
    while (this.kept.size > this.most) {
      const oldest = this.kept.keys().next().value;
      this.kept.get(oldest).then((bitmap) => bitmap.close(), () => {});
      this.kept.delete(oldest);
    }
    return picture;
  }

  ahead(frame) {
    for (let next = frame + 1; next <= frame + AHEAD; next++) {
      if (next < this.film.frames && !this.kept.has(next)) this.get(next).catch(() => {});
    }
  }
}

/** Outlines of the masks: for each frame a Map from a structure's name to its Path2D. */
export class Outlines {
  constructor(film) {
    this.film = film;
    this.forget();
  }

  /** The server's masks have changed: ask again. */
  forget() {
    this.chunks = new Map();
  }

  async get(frame) {
    const number = Math.floor(frame / CHUNK);
    if (!this.chunks.has(number)) {
      const chunk = this.film.masks(number * CHUNK, (number + 1) * CHUNK);
      chunk.catch(() => this.chunks.delete(number));
      this.chunks.set(number, chunk.then((frames) => frames.map((runs) => ({ runs, paths: null }))));
    }
    const entry = (await this.chunks.get(number))[frame - number * CHUNK];
    entry.paths ??= this.#paths(entry.runs);
    return entry.paths;
  }

  /** Put what a click gave in its place. */
  async put(frame, runs) {
    await this.get(frame);
    const chunk = await this.chunks.get(Math.floor(frame / CHUNK));
    chunk[frame % CHUNK] = { runs, paths: null };
  }

  #paths(runs) {
    const { width, height } = this.film;
    return new Map(Object.entries(runs).map(([name, mask]) => [name, outline(mask, width, height)]));
  }
}
