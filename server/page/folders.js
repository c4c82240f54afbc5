// Suggests the folders of the server's data root while the path of a data set is written.
import { call } from "./api.js";
import { at, element } from "./dom.js";

let listed = null; // the folder whose folders are suggested

export async function suggest() {
  const below = at("dataset").value.replace(/[^/]*$/, "");
  if (below === listed) return;
  listed = below;
  const asked = new URLSearchParams({ below });
  const { folders } = await call(`/v1/folders?${asked}`).then((reply) => reply.json(), () => ({ folders: [] })); // the server explains at the start
  if (below === listed) at("folders").replaceChildren(...folders.map((name) => element("option", "", { value: below + name })));
}
