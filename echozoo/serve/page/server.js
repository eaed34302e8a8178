// What the page asks of the server; every refusal becomes an Error with the server's one line.

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  let reason = `${answer.status} ${answer.statusText}`;
  try {
    reason = (await answer.json()).error || reason;
  } catch { /* not one of ours */ }
  throw Object.assign(new Error(reason), { status: answer.status });
}

const json = async (path, options) => (await ask(path, options)).json();

const post = (path, body) => json(path, { method: "POST", body });
const posted = (value) => ({
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value),
});

// Addresses are relative: the page may lie below a path of a proxy.
export const model = () => json("api/model");
/** What is done of each film of the list: "untouched", "begun" or "done". */
export const states = () => json("api/films");

// Each of these opens a film; the page's film before it, if any, is closed once that is done.
const instead = (film) => (film ? `?instead=${film.key}` : "");
export const openListed = (number, film) => post(`api/films/${number}${instead(film)}`);
// The bytes alone: the file's name stays here.
export const upload = (file, film) => post(`api/uploads${instead(film)}`, file);
export const openKept = (id, film) => post(`api/kept/${id}${instead(film)}`);

const GONE = 410;

/** One open film. */
export class OpenFilm {
  /** reopen: opens it anew and gives its facts, where the server no longer has it open. */
  constructor(facts, reopen) {
    Object.assign(this, facts);
    this.reopen = reopen;
    this.reopening = null;
  }

  async #ask(path, options) {
    try {
      return await ask(`api/open/${this.key}${path}`, options);
    } catch (error) {
      if (error.status !== GONE) throw error;
    }
    this.reopening ??= this.reopen().finally(() => { this.reopening = null; });
    this.key = (await this.reopening).key;
    return ask(`api/open/${this.key}${path}`, options);
  }

  async #json(path, options) { return (await this.#ask(path, options)).json(); }

  async picture(frame) {
    const answer = await this.#ask(`/frames/${frame}`);
    return createImageBitmap(await answer.blob());
  }

  /** All prompts: [{frame, structure, points, labels, box}]. */
  clicks() { return this.#json("/clicks"); }
  click(clicks) { return this.#json("/clicks", { method: "POST", ...posted(clicks) }); }
  unclick(frame, structure) { return this.#json(`/clicks/${frame}/${structure}`, { method: "DELETE" }); }

  async masks(start, stop) {
    return (await this.#json(`/masks?start=${start}&stop=${stop}`)).masks;
  }

  clear() { return this.#ask("/masks", { method: "DELETE" }); }
  /** What it tells of itself. */
  facts() { return this.#json(""); }
  /** {frame, structure, points, radius, erase} */
  stroke(stroke) { return this.#json("/strokes", { method: "POST", ...posted(stroke) }); }
  /** way: "undo" or "redo" */
  step(way) { return this.#json(`/${way}`, { method: "POST" }); }
  setInstants(instants) { return this.#ask("/instants", { method: "PUT", ...posted(instants) }); }
  setSpacing(given) { return this.#ask("/spacing", { method: "PUT", ...posted(given) }); }
  look(frame) { return this.#ask(`/look/${frame}`, { method: "POST" }); }
  /** way: "both", "forward", "backward" or "between" */
  carry(frame, way) { return this.#json(`/carry/${frame}?way=${way}`, { method: "POST" }); }
  segment() { return this.#json("/film", { method: "POST" }); }
  job() { return this.#json("/job"); }
  stop() { return this.#ask("/job", { method: "DELETE" }); }
  measures() { return this.#json("/measures"); }
  /** {others, changed, not_kept}: what other pages do, and whether the server can keep this. */
  news() { return this.#json("/news"); }
  setDone(done) { return this.#ask("/done", { method: "PUT", ...posted({ done }) }); }
  bringMasks(file, frame) { return this.#json(`/masks?frame=${frame}`, { method: "POST", body: file }); }
  bringClicks(file) { return this.#json("/clicks.json", { method: "POST", body: file }); }

  /** The page goes, maybe to come back at once. */
  leave() { navigator.sendBeacon(`api/open/${this.key}/leave`); }

  async download(what, name) {
    const blob = await (await this.#ask(`/${what}`)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}
