/* A slider for λ: a prior, the prior tilted by exp(Q / λ), and the two Gaussians nearest to that.

Each <div class="tilt"> of a page becomes one. All is computed here, on a grid of actions. */
const LOW = -1.6, GAP = 0.02, POINTS = 161;
const ACTIONS = Array.from({length: POINTS}, (_, index) => LOW + GAP * index);
const gaussian = (mean, std) => ACTIONS.map(action =>
  Math.exp(-0.5 * ((action - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI)));
const PRIOR = gaussian(0, 0.5);
/* Two good actions, the right one a little better. */
const VALUE = ACTIONS.map(action =>
  Math.exp(-12 * (action + 0.6) ** 2) + 1.2 * Math.exp(-12 * (action - 0.6) ** 2));

/** Return the density of the tilted prior, Eq. (23). */
function tilted(lambda) {
  const best = Math.max(...VALUE);
  const raw = PRIOR.map((density, index) => density * Math.exp((VALUE[index] - best) / lambda));
  const mass = GAP * raw.reduce((sum, one) => sum + one, 0);
  return raw.map(one => one / mass + 1e-30);
}

/** Return mean and standard deviation of a density: the least forward KL. */
function moments(density) {
  const average = of => GAP * density.reduce((sum, one, index) => sum + one * of(ACTIONS[index]), 0);
  const mean = average(action => action);
  return [mean, Math.sqrt(average(action => (action - mean) ** 2))];
}

/** Return the Gaussian of least reverse KL, by trying many. */
function settled(density) {
  const logs = density.map(Math.log);
  let least = Infinity, found = [0, 1];
  for (let mean = -1; mean <= 1.001; mean += 0.04) {
    for (let std = 0.06; std <= 0.62; std += 0.02) {
      const divergence = gaussian(mean, std).reduce((sum, one, index) =>
        sum + (one > 1e-12 ? GAP * one * (Math.log(one) - logs[index]) : 0), 0);
      if (divergence < least) [least, found] = [divergence, [mean, std]];
    }
  }
  return found;
}

/** Return the path of a density in a picture of 720 by 300. */
function path(density) {
  const x = index => 20 + 680 * index / (POINTS - 1);
  const y = height => (270 - 45 * Math.min(height, 5.5)).toFixed(1);
  return "M" + density.map((one, index) => `${x(index).toFixed(1)},${y(one)}`).join("L");
}

const LINES = [
  ["prior", "#767676", "2 3"],
  ["prior tilted by exp(Q / λ)", "#222222", ""],
  ["least forward KL: MPPI's refit", "#0173b2", ""],
  ["least reverse KL: the policy", "#a85f00", "8 4"],
];

function build(place) {
  const label = (index, [name, color]) =>
    `<text x="30" y="${26 + 27 * index}" fill="${color}">${name}</text>`;
  const picture = `
    <svg viewBox="0 0 720 300" role="img" aria-label="Densities over an action: ${
      LINES.map(([name]) => name).join("; ")}">
      <rect width="720" height="300" fill="#ffffff"/>
      <path d="M20,270H700" stroke="#767676"/>
      ${[-1, 0, 1].map(action => `<text x="${20 + 680 * (action - LOW) / 3.2}" y="292"
        text-anchor="middle" fill="#222222">${action}</text>`).join("")}
      <text x="700" y="292" text-anchor="end" fill="#222222">action</text>
      ${LINES.map((line, index) => label(index, line)).join("")}
      ${LINES.map(([, color, dash]) => `<path class="density" fill="none" stroke="${color}"
        stroke-width="2.5" stroke-dasharray="${dash}"/>`).join("")}
    </svg>`;
  slider(place, picture, "λ =", 'min="-1.3" max="1" step="0.05" value="-0.6"', exponent => {
    const lambda = 10 ** exponent, density = tilted(lambda);
    const paths = place.querySelectorAll(".density");
    [PRIOR, density, gaussian(...moments(density)), gaussian(...settled(density))]
      .forEach((one, index) => paths[index].setAttribute("d", path(one)));
    return lambda.toPrecision(2);
  });
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll("div.tilt").forEach(build));
