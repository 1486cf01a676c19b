// What is wider than the window, or than the column of the text, a line for each of the two with
// the innermost elements that stick out of it. What scrolls by itself does not.
() => [document.documentElement, document.querySelector(".content")].flatMap((box) => {
  if (!box || box.scrollWidth <= box.clientWidth + 1) return [];
  const edge = box.getBoundingClientRect().left + box.clientWidth + 1;
  const scrolls = (element) => getComputedStyle(element).overflowX !== "visible";
  const sticksOut = (element) => {
    const { left, right } = element.getBoundingClientRect();
    return Math.max(right, scrolls(element) ? 0 : left + element.scrollWidth) > edge;
  };
  const innermost = (element) => {
    const parts = element !== box && scrolls(element) ? [] : [...element.children];
    const wide = parts.filter(sticksOut);
    return wide.length ? wide.flatMap(innermost) : [element];
  };
  const found = innermost(box).map((it) => it.outerHTML.replace(/\s+/g, " ").slice(0, 80));
  return [`${box.scrollWidth} px in ${box.clientWidth}: ${found.join(", ")}`];
});
