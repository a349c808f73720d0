/* The best policy of a grid for a slider's λ: arrows as long as probabilities, shades of return.

Each <div class="policy-grid"> of a page becomes one. The MDP is `tabular.gridworld` of pompc.theory
with four rows and columns, slip 0.3 and discount 0.9; all is computed here. */
const SIDE = 4, SLIP = 0.3, DISCOUNT = 0.9, GOAL = 15, PIT = 11;
const MOVES = [[-1, 0], [0, 1], [1, 0], [0, -1]];  // up, right, down, left: row, column
const TURNS = [-90, 0, 90, 180];  // of their arrows, in degrees
const CELL_PRIOR = [0.1, 0.5, 0.3, 0.1];  // the same in every cell
const CELLS = Array.from({length: SIDE * SIDE}, (_, cell) => cell);
const within = place => Math.min(Math.max(place, 0), SIDE - 1);
const LANDINGS = CELLS.map(cell => MOVES.map(([down, right]) =>
  SIDE * within(Math.floor(cell / SIDE) + down) + within(cell % SIDE + right)));

const expected = (weights, values) =>
  weights.reduce((sum, weight, index) => sum + weight * values[index], 0);

/** Return Q of a cell's four moves, from the values of all cells. */
function actionValues(cell, values) {
  if (cell === GOAL || cell === PIT) return MOVES.map(() => DISCOUNT * values[cell]);
  const worth = LANDINGS[cell].map(to => (to === GOAL) - (to === PIT) + DISCOUNT * values[to]);
  const slipped = expected([0.25, 0.25, 0.25, 0.25], worth);
  return worth.map(one => (1 - SLIP) * one + SLIP * slipped);
}

/** Return the prior tilted by exp(Q / λ), Eq. (23), and the mean of those exponentials. */
function tilt(q, lambda) {
  const best = Math.max(...q);
  const ratios = q.map(one => lambda > 0 ? Math.exp((one - best) / lambda) : Number(one === best));
  const mass = expected(CELL_PRIOR, ratios);
  return {policy: ratios.map((ratio, move) => CELL_PRIOR[move] * ratio / mass), mass, best};
}

/** Return λ log Σ prior exp(Q / λ): the maximum at λ = 0, the prior's mean at λ = ∞. */
function softMaximum(q, lambda) {
  if (lambda === Infinity) return expected(CELL_PRIOR, q);
  const {mass, best} = tilt(q, lambda);
  return lambda > 0 ? best + lambda * Math.log(mass) : best;
}

/** Return the values of all cells at which a backup (cell, values) arrives. */
function iterate(backup) {
  let values = CELLS.map(() => 0);
  for (let round = 0; round < 300; round++) values = CELLS.map(cell => backup(cell, values));
  return values;
}

/** Return the best policy for a λ, and its return from each cell, without the fee. */
function bestPolicy(lambda) {
  const soft = iterate((cell, values) => softMaximum(actionValues(cell, values), lambda));
  const policy = CELLS.map(cell => tilt(actionValues(cell, soft), lambda).policy);
  const plain = iterate((cell, values) => expected(policy[cell], actionValues(cell, values)));
  return {policy, plain};
}

/** Return an arrow of a length that points to the right, as a path. */
function arrow(length) {
  const head = Math.min(11, length), neck = 5 + length - head, half = Math.min(1.5, length / 8);
  return `M5,${-half}H${neck}V${-head / 2}L${5 + length},0L${neck},${head / 2}V${half}H5Z`;
}

const bar = length => `M5,-4.5h${length}v9H5Z`;

/** Return a colour between red at -1, white at 0 and blue at 1. */
function shade(value) {
  const end = value < 0 ? [181, 72, 72] : [52, 118, 196], share = Math.min(Math.abs(value), 1);
  return `rgb(${end.map(part => Math.round(250 + share * (part - 250)))})`;
}

/** Return a cell: its shade, its return, the prior as bars and the policy as arrows. */
function cellPicture(policy, plain, cell) {
  const x = 100 * (cell % SIDE), y = 100 * Math.floor(cell / SIDE);
  const box = fill => `<rect x="${x}" y="${y}" width="100" height="100" fill="${fill}"
    stroke="#ffffff" stroke-width="2"/>`;
  if (cell === GOAL || cell === PIT) {
    return `${box("#d9d9d9")}<text x="${x + 50}" y="${y + 56}" text-anchor="middle"
      font-weight="bold" fill="#222222">${cell === GOAL ? "goal" : "pit"}</text>`;
  }
  const moves = (shape, probabilities, look) => TURNS.map((turn, move) => `<path ${look}
    d="${shape(42 * probabilities[move])}"
    transform="translate(${x + 50} ${y + 50}) rotate(${turn})"/>`).join("");
  return `${box(shade(plain[cell]))}
    <text class="return" x="${x + 7}" y="${y + 20}" fill="#222222">${written(plain[cell], 2)}</text>
    ${moves(bar, CELL_PRIOR, 'fill="#000000" fill-opacity="0.2"')}
    ${moves(arrow, policy[cell], 'class="move" fill="#222222"')}`;
}

function buildGrid(place) {
  const picture = `<svg viewBox="0 0 400 400" role="img" aria-label="A grid of four by four cells,
    with an arrow for each move as long as its probability, and the return from each cell"></svg>`;
  slider(place, picture, "λ", 'min="-2.1" max="2.1" step="0.1" value="-0.7"', exponent => {
    const ends = {"-2.1": 0, "2.1": Infinity};
    const lambda = ends[exponent] ?? Number((10 ** exponent).toPrecision(2));
    const {policy, plain} = bestPolicy(lambda);
    place.querySelector("svg").innerHTML =
      CELLS.map(cell => cellPicture(policy, plain, cell)).join("");
    return `λ = ${lambda === Infinity ? "∞" : lambda}: return from the first cell ${
      written(plain[0], 3)}`;
  });
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll("div.policy-grid").forEach(buildGrid));
