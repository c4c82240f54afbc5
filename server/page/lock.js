// The key that a server may want: asked for in the page, kept until the tab is closed.
import { at } from "/page/dom.js";

const KEY = "tencrop-key"; // in sessionStorage
let entered = null; // the promise of another key, while one is asked for

export const key = () => sessionStorage.getItem(KEY);

export function anotherKey(why) {
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
