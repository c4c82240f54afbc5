// The server's key: the page asks for it, and the tab keeps it until it is closed.
import { at } from "./dom.js";

const KEY = "tencrop-key"; // in sessionStorage
let entered = null; // the promise of a key while the page asks for one

export const key = () => sessionStorage.getItem(KEY);

export function askForKey(why) {
  at("refused").textContent = why;
  at("lock").hidden = false;
  at("key").focus();
  entered ??= new Promise((resolve) => {
    at("lock").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, at("key").value);
      at("key").value = "";
      at("lock").hidden = true;
      at("pick").focus();
      entered = null;
      resolve();
    }, { once: true });
  });
  return entered;
}
