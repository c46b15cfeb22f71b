'use strict';
// The composer's combinators: compiled, deployed, invoked. Arguments: API host, key. Prints {name: [answer, wanted]}.
const composer = require('openwhisk-composer');
const client = require('openwhisk-composer/client');
const ow = client({ apihost: process.argv[2], api_key: process.argv[3] });
/* global x, c */
const CASES = {
  seq: [composer.seq('inc', 'inc'), { n: 3 }, { n: 5 }],
  literal: [composer.literal({ a: 1 }), {}, { a: 1 }],
  if: [composer.if('isEven', 'inc', composer.seq('inc', 'inc')), { n: 3 }, { n: 5 }],
  while: [composer.while('isNotOne', 'dec'), { n: 5 }, { n: 1 }],
  dowhile: [composer.dowhile('dec', 'isNotOne'), { n: 5 }, { n: 1 }],
  repeat: [composer.repeat(3, 'inc'), { n: 0 }, { n: 3 }],
  try: [composer.try(composer.action('fails'), composer.literal({ caught: true })), {}, { caught: true }],
  finally: [composer.finally('inc', 'inc'), { n: 0 }, { n: 2 }],
  let: [composer.let({ x: 42 }, composer.function(() => ({ x }))), {}, { x: 42 }],
  mask: [composer.let({ x: 42 }, composer.let({ x: 69 }, composer.mask(composer.function(() => ({ x }))))), {}, { x: 42 }],
  retain: [composer.retain('inc'), { n: 3 }, { params: { n: 3 }, result: { n: 4 } }],
  retry: [composer.let({ c: 2 }, composer.retry(5, composer.function(() => (c-- > 0 ? { error: 'no' } : { ok: c })))), {}, { ok: -1 }],
  task: [composer.task('inc'), { n: 1 }, { n: 2 }],
  empty: [composer.empty(), { n: 1 }, { n: 1 }],
  dynamic: [composer.seq(composer.function(() => ({ type: 'action', name: 'inc', params: { n: 41 } })), composer.dynamic()), {}, { n: 42 }],
  parallel: [composer.parallel('inc', composer.seq('inc', 'inc')), { n: 1 }, { value: [{ n: 2 }, { n: 3 }] }],
  map: [composer.seq(composer.map('inc'), composer.function(({ value }) => ({ sum: value.reduce((sum, { n }) => sum + n, 0) }))),
    { value: Array.from({ length: 60 }, (_, n) => ({ n })) }, { sum: 1830 }],
  forks: [composer.par(composer.par('inc', 'dec'), composer.literal(1), 'fails'), { n: 5 },
    { value: [{ value: [{ n: 6 }, { n: 4 }] }, { value: 1 }, { error: 'no' }] }],
  merge: [composer.merge('inc'), { n: 1, m: 2 }, { n: 2, m: 2 }],
};
const ACTIONS = {
  inc: 'const main = ({ n }) => ({ n: n + 1 })',
  dec: 'function main({ n }) { return { n: n - 1 } }',
  isEven: 'function main({ n }) { return { value: n % 2 == 0 } }',
  isNotOne: 'function main({ n }) { return { value: n != 1 } }',
  fails: 'function main() { return { error: "no" } }',
};

(async () => {
  for (const [name, action] of Object.entries(ACTIONS)) await ow.actions.update({ name, action });
  const seen = {};
  for (const [name, [composition, params, wanted]] of Object.entries(CASES)) {
    await ow.compositions.deploy({ name: `c-${name}`, ...composition.compile() }, true);
    seen[name] = [await ow.actions.invoke({ name: `c-${name}`, params, blocking: true, result: true }), wanted];
  }
  console.log(JSON.stringify(seen));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
