// onnxruntime's packages of npm in node, in the place of bench/runtimes/answer.py:
// node node.mjs FOLDER PACKAGE MODEL OUTPUT BATCH.npy ..., where FOLDER holds node_modules

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { answer } from "./answer.mjs";

const [folder, name, model, output, ...batches] = process.argv.slice(2);
try {
  const ort = createRequire(`${folder}/`)(name);
  const session = await ort.InferenceSession.create(readFileSync(model));
  for (const batch of batches) {
    writeFileSync(`${basename(batch)}.answer`, await answer(ort, session, output, readFileSync(batch)));
  }
} catch (error) {
  console.error(`${error}`.replaceAll("\n", " "));
  process.exit(1);
}
process.exit(); // some threads of wasm go on
