// Query random rows of the pool and train a softmax regression on the answers: replace this with your idea.
'use strict';

const { Match } = require('./arena');

const PASSES = 60;
const RATE = 0.5;

// Random numbers that depend only on the match's seed (mulberry32), so that the same seed gives the same match.
function generator(seed) {
  let state = seed % 2 ** 32;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(items, random) {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

function softmax(scores) {
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

// Returns the weights [classes][inputs] and biases of a softmax regression, by stochastic gradient descent.
function train(rows, answers, classes, random) {
  const weights = Array.from({ length: classes }, () => new Float64Array(rows[0].length));
  const biases = new Float64Array(classes);
  for (let pass = 0; pass < PASSES; pass += 1) {
    for (const index of shuffled(rows.keys(), random)) {
      const row = rows[index];
      const scores = weights.map((weight, k) => row.reduce((sum, value, i) => sum + value * weight[i], biases[k]));
      softmax(scores).forEach((share, k) => {
        const step = (RATE * (share - answers[index][k])) / (1 + pass);
        biases[k] -= step;
        for (let i = 0; i < row.length; i += 1) weights[k][i] -= step * row[i];
      });
    }
  }
  return { weights, biases };
}

async function main() {
  const match = await new Match().join();
  const random = generator(match.seed);
  const chosen = shuffled(await match.fetchPool(), random).slice(0, match.remaining);
  const answers = await match.query(chosen);
  const { weights, biases } = train(chosen, answers, match.classes, random);
  await match.handBack('linear', {
    'body.1.weight': { shape: [match.classes, chosen[0].length], values: weights.flatMap((row) => [...row]) },
    'body.1.bias': { shape: [match.classes], values: [...biases] },
  });
  console.log(`queried ${chosen.length} rows, ${match.remaining} left`);
  match.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
