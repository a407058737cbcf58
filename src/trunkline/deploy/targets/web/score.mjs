// Scores rows with the bundle that `trunkline export` wrote beside this file, in a browser or in Node, offline.
//   import { load } from "./score.mjs";
//   const model = await load();
//   await model.score([{ carrier: "UA", distance: 1400 }]); // a number for each row; of several classes, an object
// load() replays the golden rows and refuses to go on where one scores otherwise. Rows are held to contract.json.
import * as ort from "./ort.wasm.min.mjs";

const MISSING = "\ue000"; // a missing text

export async function load(base = new URL("./", import.meta.url)) {
  const [about, contract, golden] = (await Promise.all(["export.json", "contract.json", "golden.json"].map((name) => read(base, name))))
    .map((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
  const graph = await read(base, "model.onnx");
  await refuseOther(graph, about.files["model.onnx"]);
  ort.env.wasm.numThreads = 1; // sums in one order
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  const model = { about, contract, golden, score: (rows) => score(session, about, contract, rows) };
  for (const { request, score: expected } of golden) {
    const [given] = await model.score([request]);
    if (!same(given, expected, about)) throw new Error(`a golden row scores ${JSON.stringify(given)}, not ${JSON.stringify(expected)}`);
  }
  return model;
}

async function read(base, name) {
  const url = new URL(name, base);
  if (url.protocol === "file:") return new Uint8Array(await (await import("node:fs/promises")).readFile(url));
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function refuseOther(bytes, expected) {
  if (!globalThis.crypto?.subtle) return; // a page that came over plain http from elsewhere
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const actual = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (actual !== expected) throw new Error("model.onnx: is not the one that was exported; export it again");
}

function same(given, expected, about) {
  if (typeof expected === "object") return Object.keys(expected).every((name) => same(given[name], expected[name], about));
  return about.exact ? Object.is(given, expected) : Math.abs(given - expected) <= about.tolerance * Math.max(1, Math.abs(expected));
}

async function score(session, about, contract, rows) {
  if (rows.length === 0) return [];
  const even = rows.length % 2 ? [...rows, rows.at(-1)] : rows; // as every runtime of a bundle
  const feeds = {};
  for (const [role, type] of [["numeric", "float64"], ["categorical", "string"]]) {
    const fields = contract.inputs.filter((field) => field.role === role);
    const values = even.flatMap((row) => fields.map((field) => checked(field, row[field.name])));
    const data = type === "float64" ? Float64Array.from(values) : values;
    if (fields.length) feeds[role] = new ort.Tensor(type, data, [even.length, fields.length]);
  }
  const names = new Set(contract.inputs.map((field) => field.name));
  for (const name of rows.flatMap(Object.keys)) if (!names.has(name)) throw new Error(`field ${name}: is not in the contract`);
  const [{ data }] = Object.values(await session.run(feeds));
  const scores = about.link === "Sigmoid" ? Array.from(data, sigmoid) : Array.from(data);
  const classes = contract.classes ?? [];
  if (!classes.length) return scores.slice(0, rows.length);
  return rows.map((_, row) => Object.fromEntries(classes.map((name, i) => [name, scores[row * classes.length + i]])));
}

// A value as the graph takes it; throws for one that is not as the contract says.
function checked(field, given) {
  const wrong = (breach) => new Error(`field ${field.name}: ${JSON.stringify(given)} ${breach}`);
  if (given === undefined || given === null || Number.isNaN(given)) {
    if (!field.nullable) throw new Error(`field ${field.name}: is missing; give its value: ${field.description}`);
    return field.role === "numeric" ? NaN : MISSING;
  }
  let value = given;
  if (field.type === "text") {
    if (field.category_of === "integer" && Number.isInteger(value)) value = BigInt(value).toString();
    if (field.category_of === "boolean" && typeof value === "boolean") value = String(value);
    if (typeof value !== "string" || value === MISSING || !value.isWellFormed()) throw wrong("is not a text");
    if (field.category_of === "integer" && !/^(0|-?[1-9][0-9]*)$/.test(value)) throw wrong("is not a whole number");
    if (field.category_of === "boolean" && !/^(true|false)$/.test(value)) throw wrong("is not true or false");
    if (field.pattern != null && !new RegExp(`^(?:${field.pattern})$`, "u").test(value)) throw wrong(`is not of the form ${field.pattern}`);
  } else if (field.type === "boolean") {
    if (typeof value !== "boolean") throw wrong("is not true or false");
    return Number(value);
  } else {
    if (typeof value !== "number" || !Number.isFinite(value)) throw wrong("is not a finite number");
    if (field.type === "integer" && !Number.isInteger(value)) throw wrong("is not a whole number");
    if (field.min != null && value < field.min) throw wrong(`is below ${field.min}`);
    if (field.max != null && value > field.max) throw wrong(`is above ${field.max}`);
  }
  if (field.allowed != null && !field.allowed.includes(value)) throw wrong(`is not one of ${field.allowed.join(", ")}`);
  return value;
}

// Sigmoid and exp as onnxruntime computes them for doubles: Cephes' rational function, in Eigen's order. Math.exp gives other bits.
function sigmoid(x) {
  const e = exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + e) : 1 - 1 / (1 + e);
}

function exp(given) {
  let x = Math.max(Math.min(given, 709.784), -745.519);
  const n = Math.floor(1.4426950408889634 * x + 0.5);
  x -= n * 0.693145751953125;
  x -= n * 1.4286068203094172e-6;
  const square = x * x;
  const p = ((1.2617719307481059e-4 * square + 3.0299440770744196e-2) * square + 1) * x;
  const q = ((3.0019850513866446e-6 * square + 2.5244834034968410e-3) * square + 0.22726554820815503) * square + 2;
  return (1 + 2 * (p / (q - p))) * 2 ** n;
}
