// The page: a field for each input of the contract, filled with the first golden row, and its score.
import { load } from "./score.mjs";

const [about, fields, form, button, output] = ["#about", "#fields", "form", "button", "output"].map((each) => document.querySelector(each));

function valueOf(field, text) {
  if (text === "") return null;
  if (field.type === "boolean") return { true: true, false: false }[text] ?? text;
  return field.type === "text" ? text : Number(text);
}

try {
  const model = await load();
  const example = model.golden[0]?.request ?? {};
  for (const field of model.contract.inputs) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.name = field.name;
    input.value = example[field.name] ?? "";
    label.append(field.description, input);
    fields.append(label);
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const row = Object.fromEntries(model.contract.inputs.map((field) => [field.name, valueOf(field, given.get(field.name))]));
    try {
      output.textContent = JSON.stringify((await model.score([row]))[0]);
    } catch (error) {
      output.textContent = error.message;
    }
  });
  about.textContent = `${model.about.name}, bundle ${model.about.digest.slice(0, 12)}: ${model.golden.length} golden rows score as they should.`;
  button.disabled = false;
} catch (error) {
  about.textContent = error.message;
}
