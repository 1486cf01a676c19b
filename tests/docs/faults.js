// What is wrong with the page in the window, a line each, once its formulas are typeset.
async () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (element) => `${element.outerHTML.replace(/\s+/g, " ").slice(0, 80)}`;
  await window.MathJax?.startup?.promise;

  const title = document.title.trim() ? [] : ["no title"];

  const images = [...document.images];
  await Promise.all(images.map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => null);
  }));
  const broken = images.filter((image) => image.naturalWidth === 0);

  const formulas = all("span.math, div.math").filter((math) => !math.querySelector("mjx-container"));
  const errors = all("mjx-merror, mjx-container [style*='color: red']");

  const raw = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    const verbatim = parentElement.closest("code, pre, script, style, mjx-container");
    if (!verbatim && /\\[([]|\$\$|\\[a-zA-Z]{2,}/.test(data)) raw.push(data.trim());
  }

  return [
    ...title,
    ...broken.map((image) => `broken image: ${image.src}`),
    ...formulas.map((math) => `not typeset: ${name(math)}`),
    ...errors.map((error) => `error in a formula: ${name(error.closest(".math") ?? error)}`),
    ...raw.map((text) => `LaTeX in the text: ${text.slice(0, 80)}`),
  ];
}
