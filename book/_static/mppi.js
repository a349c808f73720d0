/* MPPI's iterations on the pendulum: what is drawn, the elites, the Gaussian, and the rod's path.

Each <div class="mppi"> of a page becomes that. `step`, `refine` and `plan` are those of
tutorials/mppi, with random numbers of their own: the same ones whenever the page is opened. */
const HORIZON = 20, SAMPLES = 128, ELITES = 16, ITERATIONS = 5;
const clip = (value, bound) => Math.min(Math.max(value, -bound), bound);
const average = values => values.reduce((sum, one) => sum + one, 0) / values.length;
const eachStep = of => Array.from({length: HORIZON}, (_, index) => of(index));

/** Return a function that returns numbers from a standard normal. */
function normals(seed) {
  let state = 1000003 * seed;
  const uniform = () => (state = state * 48271 % 2147483647) / 2147483647;
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Return reward and next state of the pendulum; an angle of 0 is upright. */
function step([angle, speed], action) {
  const wrapped = angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
  const reward = -(wrapped ** 2 + 0.1 * speed ** 2 + 0.004 * action ** 2);
  const next = clip(speed + 0.05 * (15 * Math.sin(angle) + 6 * action), 8);
  return [reward, [angle + 0.05 * next, next]];
}

/** Return a sequence of actions, its return, Eq. (10), and its angles, from the hanging rod. */
function follow(actions) {
  let state = [Math.PI, 0], reward, value = 0;
  const angles = [state[0]];
  actions.forEach((action, index) => {
    [reward, state] = step(state, action);
    value += 0.99 ** index * reward;
    angles.push(state[0]);
  });
  return {actions, value, angles};
}

/** Return mean and std of the elites, weighted by their return, Eq. (11). */
function refine(elites) {
  const weights = elites.map(one => Math.exp(one.value - elites[0].value)), mass = average(weights);
  const weighted = of =>
    average(elites.map((one, index) => weights[index] / mass * of(one.actions)));
  const mean = eachStep(at => weighted(actions => actions[at]));
  const variance = eachStep(at => weighted(actions => (actions[at] - mean[at]) ** 2));
  return {mean, std: variance.map(one => clip(Math.max(Math.sqrt(one), 0.05), 2))};
}

/** Return the Gaussian after each iteration, from none to all, with its draws, the best first. */
function plan(seed) {
  const noise = normals(seed), found = [];
  let gaussian = {mean: eachStep(() => 0), std: eachStep(() => 2)};
  for (let iteration = 0; iteration <= ITERATIONS; iteration++) {
    const {mean, std} = gaussian;
    const draws = Array.from({length: SAMPLES}, () =>
      follow(eachStep(at => clip(mean[at] + std[at] * noise(), 1))));
    draws.sort((one, other) => other.value - one.value);
    found.push({mean, std, draws, elites: draws.slice(0, ELITES), rod: follow(mean)});
    gaussian = refine(found[iteration].elites);
  }
  return found;
}

const x = at => 45 + 20 * at, y = action => (160 - 65 * action).toFixed(1);
const points = actions => actions.map((action, at) => `${x(at)},${y(action)}`);
const lines = sequences => sequences.map(one => "M" + points(one.actions).join("L")).join("");
/* Dots of one step stand side by side: where many have the same action, they make a bar. */
const dots = sequences => sequences.map(({actions}, index) => actions.map((action, at) =>
  `M${(x(at) - 7 + 14 * index / SAMPLES).toFixed(1)},${y(action)}h0`).join("")).join("");

/** Return the actions over the steps of the plan. */
function actionPicture({mean, std, draws, elites}) {
  const upper = mean.map((one, at) => one + std[at]), lower = mean.map((one, at) => one - std[at]);
  return `<rect width="440" height="330" fill="#ffffff"/>
    <path d="M${points(upper).concat(points(lower).reverse()).join("L")}Z" fill="#cce3f0"/>
    ${[-1, 0, 1].map(action => `<text x="34" y="${165 - 65 * action}" text-anchor="end"
      fill="#222222">${written(action, 0)}</text>`).join("")}
    <path d="M35,${y(1)}H435M35,${y(-1)}H435" stroke="#767676" stroke-dasharray="2 3"/>
    <text x="425" y="318" text-anchor="end" fill="#222222">step of the plan</text>
    <path class="draws" d="${dots(draws)}" stroke="#555555" stroke-opacity="0.4"
      stroke-width="2.5" stroke-linecap="round"/>
    <path class="elites" d="${lines(elites)}" stroke="#a85f00" stroke-opacity="0.6"/>
    <path class="mean" d="M${points(mean).join("L")}" stroke="#0173b2" stroke-width="3"/>
    <text x="45" y="18" fill="#555555">${SAMPLES} draws</text>
    <text x="165" y="18" fill="#a85f00">${ELITES} elites</text>
    <text x="425" y="18" text-anchor="end" fill="#0173b2">mean ± std</text>`;
}

/** Return the rod at each step of the mean's actions, later ones darker. */
function rodPicture({rod}) {
  const tips = rod.angles.map(angle =>
    `${(120 - 110 * Math.sin(angle)).toFixed(1)},${(165 - 110 * Math.cos(angle)).toFixed(1)}`);
  return `<rect width="240" height="330" fill="#ffffff"/>
    <path d="M120,165V55" stroke="#767676" stroke-dasharray="2 3"/>
    ${tips.map((tip, index) => `<path d="M120,165L${tip}" stroke="#222222" stroke-width="4"
      stroke-linecap="round" stroke-opacity="${0.08 + 0.92 * (index / HORIZON) ** 3}"/>`).join("")}
    <path class="tips" d="M${tips.join("L")}" stroke="#0173b2" stroke-width="3"/>
    <text x="120" y="18" text-anchor="middle" fill="#222222">the rod under the mean</text>`;
}

function buildIterations(place) {
  const picture = `
    <svg viewBox="0 0 440 330" fill="none" role="img" aria-label="The actions of each step of the
      plan: all draws, the elites among them, mean and standard deviation"></svg>
    <svg viewBox="0 0 240 330" fill="none" role="img" aria-label="The rod at each step, if it takes
      the mean's actions"></svg>`;
  let seed = 7, found = plan(seed);  // with some others one elite has nearly all the weight at once
  const draw = slider(place, picture, "iteration", `min="0" max="${ITERATIONS}" value="0"`, at => {
    const {std, draws, rod} = found[at], [actions, path] = place.querySelectorAll("svg");
    actions.innerHTML = actionPicture(found[at]);
    path.innerHTML = rodPicture(found[at]);
    const bound = average(draws.map(one => average(one.actions.map(a => Math.abs(a) === 1))));
    return `after iteration ${at}: return of the mean ${written(rod.value, 1)}, ` +
      `mean std ${average(std).toFixed(2)}, ${written(100 * bound, 0)}% of the draws on a bound`;
  });
  place.insertAdjacentHTML("beforeend", "<button type='button'>Draw anew</button>");
  place.querySelector("button").addEventListener("click", () => {
    found = plan(seed += 1);
    draw();
  });
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll("div.mppi").forEach(buildIterations));
