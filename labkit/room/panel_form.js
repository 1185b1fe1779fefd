// A few fields and their button. What they hold leaves in one message, with the press: a kernel may handle the messages
// of two widgets in another order than they were sent. What somebody has typed since the last press is left alone.

function made(field, id) {
  if (field.options) {
    const select = Object.assign(document.createElement("select"), { id });
    for (const [label, value] of field.options) select.append(new Option(label, value));
    return select;
  }
  const input = Object.assign(document.createElement("input"), { id, type: field.type, autocomplete: "off" });
  if (field.type === "number") Object.assign(input, { min: 1, step: 1 });
  if (field.placeholder) input.placeholder = field.placeholder;
  return input;
}

export default {
  render({ model, el }) {
    const form = Object.assign(document.createElement("form"), { noValidate: true, className: "labkit-form" });
    const inputs = new Map();
    const typed = new Set();
    for (const field of model.get("fields")) {
      const id = `labkit-${field.name}-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
      const input = made(field, id);
      input.title = field.help;
      input.style.width = field.width;
      input.addEventListener("input", () => typed.add(field.name));
      const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: field.label });
      inputs.set(field.name, input);
      form.append(label, input);
    }
    const button = Object.assign(document.createElement("button"), { type: "submit", title: model.get("help") });
    button.textContent = model.get("button");
    form.append(button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      typed.clear();
      model.send({ pressed: Object.fromEntries([...inputs].map(([name, input]) => [name, input.value])) });
    });
    el.append(form);

    const show = () => {
      for (const [name, value] of Object.entries(model.get("values"))) {
        if (!typed.has(name)) inputs.get(name).value = value;
      }
    };
    const lock = () => {
      for (const control of [...inputs.values(), button]) control.disabled = model.get("disabled");
    };
    model.on("change:values", show);
    model.on("change:disabled", lock);
    show();
    lock();
    return () => {
      model.off("change:values", show);
      model.off("change:disabled", lock);
    };
  },
};
