// What the page knows, in one object, and how its parts tell each other that it has changed.
//
// Kinds of news:
//   "ready"    the model is known: make the controls that depend on it
//   "opened"   state.film is another film, nothing of it drawn yet
//   "closed"   no film is open
//   "frame"    state.frame is another frame, its picture still on its way
//   "changed"  masks, prompts, measures or state.busy: each part sets its own controls
//
// A subject is a module that imports what it uses, listens here, and sets its own controls;
// main.js imports them all.

export const state = {
  model: null,       // what the server offers
  film: null,        // the open film, a server.OpenFilm
  fileName: "",      // as the user knows it
  listed: false,     // whether it is of the list of films
  pictures: null,    // caches.Pictures of the film
  outlines: null,    // caches.Outlines of the film
  prompts: null,     // prompts.Prompts of the film
  frame: 0,          // counts from 0
  structure: null,   // short name of the chosen structure
  hidden: new Set(), // short names
  allHidden: false,
  measured: null,    // what the server measured, and its lines for the curve
  busy: false,       // a job is running
};

const news = new EventTarget();

export const on = (kind, act) => news.addEventListener(kind, ({ detail }) => act(detail));

export const tell = (kind, detail) => { news.dispatchEvent(new CustomEvent(kind, { detail })); };
