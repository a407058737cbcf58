"use strict";
const byId = (id) => document.getElementById(id);
const fields = new Map(); // name of a field to its control, its place for an error, and how its value is read
let examples = [], shown = -1, last = null;

function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

function show(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

function headers() {
  const key = byId("key").value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers }, cache: "no-store" });
  return { status: answer.status, content: await answer.json() };
}

// --- The form, of what /openapi.json says of a row

async function load() {
  let said;
  try {
    said = await ask("openapi.json");
  } catch {
    return show("notice", "The server does not answer; load this page again when it does.");
  }
  if (said.status !== 200) {
    if (said.status === 401) byId("key").focus();
    const what = said.status === 401 ? "The server asks for an API key" : said.content.detail;
    return show("notice", `${what}.`);
  }
  show("notice", "");
  describe(said.content);
}

function describe(document_) {
  const media = document_.paths["/v1/predict"].post.requestBody.content["application/json"];
  const { properties = {}, required = [] } = document_.components.schemas.Row;
  examples = Object.values(media.examples ?? {}).map((example) => example.value);
  byId("title").textContent = document.title = document_.info.title;
  byId("example").hidden = !examples.length;
  fields.clear();
  byId("fields").replaceChildren(
    ...Object.entries(properties).map(([name, schema], number) =>
      field(name, schema, required.includes(name), document_["x-levels"]?.[name], number)));
  byId("form").hidden = false;
}

function field(name, schema, required, levels, number) {
  const types = [schema.type ?? []].flat(), id = `field-${number}`;
  const control = types.includes("boolean") && !types.includes("string") ? choice([true, false], required)
    : schema.enum ? choice(schema.enum.filter((value) => value !== null), required)
    : types.includes("string") ? text(levels, `${id}-levels`)
    : amount(schema, types.includes("integer") && !types.includes("number"));
  control.input.id = id;
  control.input.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  control.input.required = required;
  const limits = range(schema), empty = required ? "" : "may be left empty";
  const error = element("span", { class: "error", id: `${id}-error`, "aria-live": "polite" });
  fields.set(name, { ...control, error });
  const hint = [schema.description, limits, empty].filter(Boolean).join("; ");
  return element("div", { class: "field" }, element("label", { for: id }, name), control.input, ...(control.more ?? []),
    element("span", { class: "hint", id: `${id}-hint` }, hint), error);
}

function range({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${minimum} or more`;
  return maximum === undefined ? "" : `${maximum} or less`;
}

function choice(values, required) {
  const input = element("select", {}, element("option", { value: "" }, required ? "choose" : "missing"),
    ...values.map((value) => element("option", { value: JSON.stringify(value) }, String(value))));
  return { input, read: () => (input.value ? JSON.parse(input.value) : undefined),
    write: (value) => { input.value = value === null ? "" : JSON.stringify(value); } };
}

function text(levels, id) {
  const input = element("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  if (levels) input.setAttribute("list", id);
  const more = levels ? [element("datalist", { id }, ...levels.map((level) => element("option", { value: level })))] : [];
  return { input, more, read: () => input.value || undefined, write: (value) => { input.value = value ?? ""; } };
}

function amount({ minimum, maximum }, whole) {
  const input = element("input", { type: "number", step: whole ? "1" : "any", autocomplete: "off" });
  if (minimum !== undefined) input.min = minimum;
  if (maximum !== undefined) input.max = maximum;
  return { input, read: () => (input.value === "" ? undefined : Number(input.value)),
    write: (value) => { input.value = value ?? ""; } };
}

function fill(row) {
  for (const [name, { write }] of fields) write(row[name] ?? null);
  refuse(null);
}

function read() {
  const row = {};
  for (const [name, { input, read }] of fields) {
    if (input.validity.badInput) return { row, wrong: { field: name, detail: `field ${name}: is not a number` } };
    const value = read();
    if (value !== undefined) row[name] = value;
  }
  return { row };
}

// --- The answer

function refuse(problem) {
  for (const { input, error } of fields.values()) {
    input.removeAttribute("aria-invalid");
    error.textContent = "";
  }
  const at = problem && fields.get(problem.field);
  if (at) {
    at.input.setAttribute("aria-invalid", "true");
    at.error.textContent = problem.detail;
    at.input.focus();
  }
  show("problem", problem ? problem.detail : "");
}

async function score(row) {
  const request = { method: "POST", body: JSON.stringify(row), headers: { "Content-Type": "application/json" } };
  const begun = performance.now();
  let said = await ask("v1/predict?explain=true", request), unexplained = "";
  if (said.status === 501 || (said.status === 403 && said.content.detail.includes("explain"))) {
    unexplained = said.content.detail;
    said = await ask("v1/predict", request);
  }
  return { ...said, unexplained, took: performance.now() - begun };
}

async function submit(event) {
  event.preventDefault();
  const { row, wrong } = read();
  byId("answer").hidden = false;
  byId("scored").hidden = true;
  refuse(wrong);
  byId("go").disabled = true;
  try {
    const { status, content, unexplained, took } = wrong ? {} : await score(row);
    command(row, !unexplained);
    if (wrong) return;
    if (status !== 200) return refuse(content);
    last = { row, content };
    byId("scored").hidden = false;
    result(content, took);
    explain(content.explanation, unexplained);
    byId("answer-title").focus({ preventScroll: true });
    byId("answer").scrollIntoView({ block: "nearest" });
  } catch {
    refuse({ detail: "The server does not answer." });
  } finally {
    byId("go").disabled = false;
  }
}

const digits = (value, count = 6) => (Math.abs(value) < 1e-4 && value !== 0
  ? value.toExponential(Math.min(count, 3) - 1) : String(Number(value.toPrecision(count))));
const signed = (value) => (value > 0 ? "+" : "") + digits(value, 3);

function bar(share, from, up) {
  const inside = element("div", { class: up ? "bar up" : "bar" });
  inside.style.left = `${100 * from}%`;
  inside.style.width = `${100 * share}%`;
  return inside;
}

function result(content, took) {
  const several = typeof content.score === "object";
  const classes = several ? Object.entries(content.score).sort((a, b) => b[1] - a[1]) : [];
  show("score", several ? `${classes[0][0]}: ${digits(classes[0][1])}` : digits(content.score));
  byId("classes").hidden = !several;
  byId("classes").tBodies[0].replaceChildren(...classes.map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, digits(value)),
      element("td", {}, element("div", { class: "track", "aria-hidden": "true" }, bar(value, 0, true))))));
  byId("class").replaceChildren(...classes.map(([name]) => element("option", { value: name }, name)));
  show("took", `took ${took.toFixed(0)} ms, there and back`);
  show("model", `${content.version ? `version ${content.version}, ` : ""}bundle ${content.digest.slice(0, 12)}`);
}

function explain(explanation, unexplained) {
  byId("bars").hidden = !explanation;
  const several = Boolean(explanation) && typeof explanation.base === "object";
  byId("of-class").hidden = !several;
  if (!explanation) return show("why", `${unexplained || "No explanation was given"}.`);
  const of = (value) => (several ? value[byId("class").value] : value);
  const pushes = Object.entries(explanation.contributions).map(([name, value]) => [name, of(value)]);
  pushes.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const margin = pushes.reduce((sum, [, value]) => sum + value, of(explanation.base));
  const scale = { logistic: "log-odds", softmax: "the margin before softmax", exp: "the logarithm of the score",
    identity: "the score itself" }[explanation.link];
  show("why", `Margin ${digits(margin)} (${scale}): ${digits(of(explanation.base))}, the mean of `
    + `${explanation.background_rows} example rows, and what each feature adds to it.`);
  const most = Math.max(...pushes.map(([, value]) => Math.abs(value)), Number.MIN_VALUE);
  byId("bars").tBodies[0].replaceChildren(...pushes.map(([name, value]) => push(name, value, most)));
}

function push(name, value, most) {
  const given = last.row[name], share = Math.abs(value) / most / 2;
  return element("tr", {},
    element("th", { scope: "row" }, name, " ", element("span", { class: "muted" }, given === undefined ? "missing" : `= ${typeof given === "number" ? digits(given) : given}`)),
    element("td", { class: "number" }, signed(value)),
    element("td", {}, element("div", { class: "track both", "aria-hidden": "true" },
      bar(share, value > 0 ? 0.5 : 0.5 - share, value > 0))));
}

function command(row, explained) {
  const quoted = (words) => `'${words.replaceAll("'", "'\\''")}'`;
  const url = new URL(`v1/predict${explained ? "?explain=true" : ""}`, location.href).href;
  const key = byId("key").value.trim() ? ` \\\n  -H "Authorization: Bearer $KEY"` : "";
  byId("curl").textContent = `curl ${quoted(url)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(row))}`;
  show("copied", "");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    show("copied", "copied");
  } catch { // not allowed: what is selected can be copied by hand
    getSelection().selectAllChildren(byId("curl"));
    show("copied", "selected; copy it with the keyboard");
  }
}

byId("form").addEventListener("submit", submit);
byId("example").addEventListener("click", () => {
  shown = (shown + 1) % examples.length;
  fill(examples[shown]);
  show("which", `example ${shown + 1} of ${examples.length}`);
});
byId("clear").addEventListener("click", () => { fill({}); show("which", ""); });
byId("copy").addEventListener("click", copy);
byId("class").addEventListener("change", () => explain(last.content.explanation, ""));
byId("key").addEventListener("change", load);
load();
