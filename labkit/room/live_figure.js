// plotly's own widget module, imported once for the whole page. It comes in the trait `library`, not in `_esm`, so
// that it can be let go when the chart has stopped: 5 MB for each chart would otherwise stay in the saved notebook.

function library(model) {
  const version = model.get("library_version");
  const loaded = (globalThis.labkitPlotly ??= {});
  loaded[version] ??= new Promise((resolve, reject) => {
    const load = () => {
      const text = model.get("library");
      if (!text) return false;
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      import(url).then(resolve, reject).finally(() => URL.revokeObjectURL(url));
      return true;
    };
    if (!load()) model.on("change:library", load);
  });
  return loaded[version];
}

export default () => {
  let widget;
  const ready = (model) => (widget ??= library(model).then(async (module) => {
    const made = typeof module.default === "function" ? await module.default() : module.default;
    await made.initialize?.({ model });
    return made;
  }));
  return {
    initialize({ model }) {
      ready(model);
    },
    async render({ model, el }) {
      el.classList.add("labkit-live-figure");
      const made = await ready(model);
      const clear = await made.render({ model, el });
      // plotly measures once, when it may not be on the page yet, and later listens to the window only
      let width = 0;
      const watch = new ResizeObserver(([entry]) => {
        if (Math.abs(entry.contentRect.width - width) < 2) return;
        width = entry.contentRect.width;
        requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
      });
      watch.observe(el);
      return () => {
        watch.disconnect();
        clear?.();
      };
    },
  };
};
