// Continues tokens by the likeliest one, again and again: node greedy.mjs TASK.json RESULT.json
// TASK has "graph" (a file), "model", "rows", and inputs by name, flat: "prompt", and "next", a list of those beside each
// token that is chosen.

import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { Decoder, likeliest } from "./decoder.mjs";

const [taskFile, resultFile] = process.argv.slice(2);
const task = JSON.parse(readFileSync(taskFile, "utf8"));
ort.env.wasm.numThreads = 1;
const decoder = await Decoder.open(ort, new Uint8Array(readFileSync(task.graph)), task.model);
decoder.reset(task.rows);
let logits = await decoder.extend(task.prompt);
const tokens = [];
for (const beside of task.next) {
  tokens.push(likeliest(logits, task.rows));
  logits = await decoder.extend({ ...beside, tokens: tokens.at(-1) });
}
writeFileSync(resultFile, JSON.stringify(tokens));
