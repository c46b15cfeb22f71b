'use strict';
// The `openwhisk` package through the life of every entity. Arguments: API host, key. Prints one JSON object.
const openwhisk = require('openwhisk');
const ow = openwhisk({ apihost: process.argv[2], api_key: process.argv[3] });
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what) {
  for (let n = 0; n < 200; n++) {
    try {
      return await what();
    } catch (error) {
      if (error.statusCode !== 404) throw error;
      await wait(50);
    }
  }
  throw new Error('it did not happen');
}

(async () => {
  const seen = {};
  seen.namespaces = await ow.namespaces.list();
  await ow.packages.update({ name: 'kit', package: { parameters: [{ key: 'greeting', value: 'Hello' }] } });
  await ow.actions.create({
    name: 'kit/hello',
    action: 'function main({ greeting, name }) { console.log(name); return { text: `${greeting} ${name}` } }',
    params: { name: 'you' },
    annotations: { 'web-export': true },
  });
  seen.result = await ow.actions.invoke({ name: 'kit/hello', blocking: true, result: true, params: { name: 'Ada' } });
  seen.default = await ow.actions.invoke({ name: 'kit/hello', blocking: true, result: true });
  const { activationId } = await ow.actions.invoke({ name: 'kit/hello', params: { name: 'later' } });
  seen.later = (await until(() => ow.activations.result(activationId))).result;
  seen.logs = (await ow.activations.logs(activationId)).logs.map((line) => line.slice(31));
  seen.listed = (await ow.activations.list({ name: 'kit/hello', limit: 1 })).map((activation) => activation.activationId === activationId);
  await ow.triggers.create({ name: 'bell' });
  await ow.rules.create({ name: 'rings', trigger: 'bell', action: '/_/kit/hello' });
  await ow.rules.disable({ name: 'rings' });
  seen.silent = await ow.triggers.invoke({ name: 'bell' });
  await ow.rules.enable({ name: 'rings' });
  const fired = await ow.triggers.invoke({ name: 'bell', params: { name: 'bell' } });
  const [entry] = (await until(() => ow.activations.logs(fired.activationId))).logs.map((line) => JSON.parse(line));
  seen.rung = (await until(() => ow.activations.result(entry.activationId))).result;
  await ow.actions.create({ name: 'twice', sequence: ['/_/kit/hello', '/_/kit/hello'] });
  seen.sequence = await ow.actions.invoke({ name: 'twice', blocking: true, result: true, params: { name: 'x' } });
  try {
    await ow.actions.create({ name: 'twice', action: 'function main() {}' });
  } catch (error) {
    seen.conflict = [error.statusCode, error.error.error];
  }
  try {
    await ow.actions.update({ name: 'fails', action: 'function main() { return { error: "no" } }' });
    await ow.actions.invoke({ name: 'fails', blocking: true });
  } catch (error) {
    seen.failure = [error.statusCode, error.error.response.result.error];
  }
  for (const [kind, names] of [['rules', ['rings']], ['triggers', ['bell']], ['actions', ['twice', 'fails', 'kit/hello']], ['packages', ['kit']]]) {
    for (const name of names) await ow[kind].delete({ name });
  }
  seen.left = [...(await ow.actions.list()), ...(await ow.triggers.list()), ...(await ow.rules.list()), ...(await ow.packages.list())];
  console.log(JSON.stringify(seen));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
