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

export const model = () => json("/api/model");
export const openListed = (number) => json(`/api/films/${number}`, { method: "POST" });
// The bytes alone: the file's name stays here.
export const upload = (file) => json("/api/uploads", { method: "POST", body: file });

/** One open film. */
export class OpenFilm {
  constructor(facts) {
    Object.assign(this, facts);
    this.path = `/api/open/${facts.key}`;
  }

  async picture(frame) {
    const answer = await ask(`${this.path}/frames/${frame}`);
    return createImageBitmap(await answer.blob());
  }

  click(clicks) {
    return json(`${this.path}/clicks`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(clicks),
    });
  }

  unclick(frame, structure) {
    return json(`${this.path}/clicks/${frame}/${structure}`, { method: "DELETE" });
  }

  async masks(start, stop) {
    return (await json(`${this.path}/masks?start=${start}&stop=${stop}`)).masks;
  }

  clear() { return ask(`${this.path}/masks`, { method: "DELETE" }); }
  carry(frame) { return json(`${this.path}/carry/${frame}`, { method: "POST" }); }
  segment() { return json(`${this.path}/film`, { method: "POST" }); }
  job() { return json(`${this.path}/job`); }
  stop() { return ask(`${this.path}/job`, { method: "DELETE" }); }
  measures() { return json(`${this.path}/measures`); }
  touch() { return json(this.path); }
  close() { return fetch(this.path, { method: "DELETE", keepalive: true }).catch(() => {}); }

  async download(what, name) {
    const blob = await (await ask(`${this.path}/${what}`)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}
