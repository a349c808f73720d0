/* What tilt.js, mppi.js and policy_grid.js share: scripts of a page see each other's names. */

/** Return a number with so many digits after its point, and a true minus. */
const written = (number, digits) => number.toFixed(digits).replace("-", "−");

/** Fill a place of a page with a picture and a slider below it.

`range` holds the attributes of the slider; `draw` gets its value and returns what is said of it.
Returns a function that draws anew. */
function slider(place, picture, name, range, draw) {
  place.innerHTML = `${picture}
    <label>${name} <output></output> <input type="range" ${range}></label>`;
  const input = place.querySelector("input"), words = place.querySelector("output");
  const update = () => {
    words.textContent = draw(Number(input.value));
    input.setAttribute("aria-valuetext", words.textContent);
  };
  input.addEventListener("input", update);
  update();
  return update;
}
