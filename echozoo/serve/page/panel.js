// Parts of the side panel and the header that are made of what the server said.

const EYE = '<svg viewBox="0 0 18 18" aria-hidden="true"><path d="M1.5 9C4 4.5 14 4.5 16.5 9C14 13.5 4 13.5 1.5 9Z"/><circle cx="9" cy="9" r="2.3"/></svg>';

export const $ = (id) => document.getElementById(id);

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** One row a structure: choose it, its area in this frame, show or hide its mask. */
export function addStructures(structures, onChoose, onShow) {
  $("structures").replaceChildren(...structures.map(({ name, title, colour }, index) => {
    const row = made("div", undefined, "structure");
    row.style.setProperty("--colour", colour);
    row.title = `Key ${index + 1}`;
    row.innerHTML = `<label><input type="radio" name="structure"><span class="title"></span></label>
      <span class="area"></span><button type="button" aria-pressed="true">${EYE}</button>`;
    const radio = row.querySelector("input");
    radio.id = `structure-${name}`;
    radio.addEventListener("change", () => onChoose(index));
    row.querySelector(".title").textContent = capital(title);
    row.querySelector(".area").id = `area-${name}`;
    const eye = row.querySelector("button");
    eye.setAttribute("aria-label", `Show the ${title}`);
    eye.addEventListener("click", () => {
      const shown = eye.getAttribute("aria-pressed") !== "true";
      eye.setAttribute("aria-pressed", String(shown));
      onShow(name, shown);
    });
    return row;
  }));
}

const MARKS = { untouched: "", begun: " (begun)", done: " (done)" };

/** The films of the folder, without the folders that all of them share, and how far each is. */
export function addFilms(names, states) {
  if (!names.length) return;
  const chosen = $("films").value;
  const first = new Option("Choose a film…", "");
  first.disabled = true;
  const folders = names[0].split("/").slice(0, -1);
  while (folders.length && !names.every((name) => name.startsWith(`${folders.join("/")}/`))) folders.pop();
  const shared = folders.length ? folders.join("/").length + 1 : 0;
  const options = names.map((name, number) => new Option(name.slice(shared) + MARKS[states[number]], number));
  $("films").replaceChildren(first, ...options);
  $("films").value = chosen;
  $("films").hidden = false;
  const count = (state) => states.filter((one) => one === state).length;
  $("films-done").textContent = `${names.length} films: ${count("untouched")} untouched, ${count("begun")} begun, ${count("done")} done`;
}

export const addNotes = (notes) => $("notes").append(...notes.map((note) => made("li", note)));

export function showFacts(film) {
  const facts = [`${film.frames} ${film.frames === 1 ? "frame" : "frames"}`, `${film.width} × ${film.height} px`];
  if (film.spacing) {
    const [dy, dx] = film.spacing.map((step) => +step.toFixed(3));
    facts.push(dy === dx ? `${dx} mm a pixel` : `${dx} × ${dy} mm a pixel`);
  }
  if (film.frame_time_ms) facts.push(`${(1000 / film.frame_time_ms).toFixed(0)} frames a second`);
  $("facts").textContent = facts.join(", ");
  $("notes").replaceChildren();
  addNotes(film.notes);
}

export function showLegend(lines) {
  $("legend").replaceChildren(...lines.map(({ title, colour }) => {
    const swatch = made("i");
    swatch.style.background = colour;
    const item = made("span");
    item.append(swatch, title);
    return item;
  }));
}

export function showNumbers(numbers) {
  $("numbers").replaceChildren(...numbers.map(({ name, value }) => {
    const box = made("div");
    box.append(made("dt", name), made("dd", value));
    return box;
  }));
}
