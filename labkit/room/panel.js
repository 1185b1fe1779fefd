// One number of the control panel: a native range for the hand, a native number for the exact value. Both are of the
// keyboard, and a screen reader says label, value and unit.

const POSITIONS = 100;

function round(value, step, whole) {
  if (whole) return Math.round(value);
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  return Number(value.toFixed(digits));
}

function scale(model) {
  const [low, high, step] = ["low", "high", "step"].map((name) => model.get(name));
  const whole = model.get("whole");
  if (!model.get("log")) {
    return { low, high, step, from: (p) => round(p, step, whole), to: (v) => v };
  }
  const first = low > 0 ? low : step;
  const ratio = Math.log(high / first);
  const from = (p) => {
    if (p <= 0) return low;
    const value = first * Math.exp((ratio * p) / POSITIONS);
    return p >= POSITIONS ? high : round(Number(value.toPrecision(2)), step, whole);
  };
  const to = (v) => (v <= first ? 0 : (POSITIONS * Math.log(v / first)) / ratio);
  return { low: 0, high: POSITIONS, step: 1, from, to };
}

export default {
  render({ model, el }) {
    const id = `labkit-${model.get("name")}-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
    const says = `${model.get("help")} From ${model.get("low")} to ${model.get("high")} ${model.get("unit")}.`;
    el.classList.add("labkit-dial");
    el.title = says;

    const label = document.createElement("label");
    label.htmlFor = id;
    label.textContent = model.get("label");
    const unit = document.createElement("span");
    unit.className = "labkit-unit";
    unit.textContent = model.get("short_unit");
    const range = Object.assign(document.createElement("input"), { type: "range", id });
    const number = Object.assign(document.createElement("input"), { type: "number", id: `${id}-exact` });
    const map = scale(model);
    Object.assign(range, { min: map.low, max: map.high, step: map.step });
    Object.assign(number, { min: model.get("low"), max: model.get("high"), step: "any" });
    number.setAttribute("aria-label", `${model.get("label")}, ${model.get("unit")}, exact`);
    for (const input of [range, number]) {
      input.title = says;
      input.dataset.labkit = model.get("name");
    }
    el.append(label, range, number, unit);

    const show = () => {
      const value = model.get("value");
      range.value = map.to(value);
      range.setAttribute("aria-valuetext", `${value} ${model.get("unit")}`);
      if (document.activeElement !== number || Number(number.value) !== value) number.value = value;
    };
    let timer = null;
    const send = () => {
      clearTimeout(timer);
      timer = null;
      model.save_changes();
    };
    range.addEventListener("input", () => {
      model.set("value", map.from(Number(range.value)));
      if (model.get("continuous")) timer ??= setTimeout(send, 150);
    });
    range.addEventListener("change", send);
    number.addEventListener("change", () => {
      if (number.value === "") return show();
      model.set("value", Number(number.value));
      send();
    });
    const lock = () => {
      for (const input of [range, number]) input.disabled = model.get("disabled");
    };
    model.on("change:value", show);
    model.on("change:disabled", lock);
    show();
    lock();

    // JupyterLab has shortcuts of its own for the keys that turn, tick and choose
    const keep = (event) => {
      if (event.key !== "Escape" && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    };
    let panel = null;
    if (model.get("keeps_keys")) {
      requestAnimationFrame(() => {
        panel = el.closest(".labkit-panel");
        panel?.addEventListener("keydown", keep);
      });
    }
    return () => {
      clearTimeout(timer);
      panel?.removeEventListener("keydown", keep);
      model.off("change:value", show);
      model.off("change:disabled", lock);
    };
  },
};
