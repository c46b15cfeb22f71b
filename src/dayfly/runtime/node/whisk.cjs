'use strict';
/*
 * The contract of OpenWhisk's Node actions: a function `main` takes an object (or array) and returns one, or a promise of one. It is a
 * function of the action's text (index.js), or one that its module exports; `main` may be a path below that, as in `lib.hello`.
 *
 * A rejected promise becomes the answer {error}, the application's error; what is thrown, and an answer that is no object, is the
 * developer's. What changes from call to call stands in the environment (`__OW_ACTIVATION_ID`, `__OW_DEADLINE` in milliseconds,
 * `__OW_TRANSACTION_ID`, and what the platform adds). Source: the project's docs/actions-new.md and docs/actions-nodejs.md.
 */

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { LoadFailed } = require('./errors.cjs');
const { Forks } = require('./forks.cjs');

const NO_DICTIONARY = 'The action did not return a dictionary or array.';
const NAME = /^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$/;

class DeveloperError extends Error {}

async function load(work, { isEsm, load: loadModule, searchIn }) {
  const main = work.handler || 'main';
  if (!NAME.test(main)) throw new LoadFailed(`Action entrypoint '${main}' is not a function.`);
  const file = entry(work.task_root);
  searchIn(work.deps_roots ?? [])?.();
  const complete = defaults(work);
  if (isEsm(file)) return invoker(await loadModule({ ...work, handler: `${path.basename(file).replace(/\.[mc]?js$/, '')}.${main}` }), complete);
  let found;
  try {
    found = evaluate(file, main);
  } catch (error) {
    if (!(error instanceof SyntaxError) || !/import statement|Unexpected token 'export'|import\.meta/.test(error.message)) throw error;
    return invoker(await loadModule({ ...work, handler: `index.${main}` }), complete);
  }
  if (typeof found !== 'function') throw new LoadFailed(`Action entrypoint '${main}' is not a function.`, file);
  return invoker(found, complete);
}

/** What completes the arguments of a call with the action's parameters, for callers who do not know them. */
function defaults(work) {
  const text = work.options?.parameters ?? '{}';
  const names = Object.keys(JSON.parse(text));
  return (args) => (Array.isArray(args) || names.every((name) => Object.hasOwn(args, name)) ? args : { ...JSON.parse(text), ...args });
}

function entry(root) {
  const manifest = path.join(root, 'package.json');
  if (!fs.existsSync(manifest) && !fs.existsSync(path.join(root, 'index.js'))) {
    throw new LoadFailed('Zipped actions must contain either package.json or index.js at the root.');
  }
  return Module.createRequire(path.join(root, '_.cjs')).resolve('./');
}

/** The function, of those that the module exports, else of those that its text defines at the top. */
function evaluate(file, main) {
  const first = main.split('.')[0];
  const module = new Module(file, null);
  module.filename = file;
  module.paths = Module._nodeModulePaths(path.dirname(file));
  require.cache[file] = module;
  const text = fs.readFileSync(file, 'utf8').replace(/^#!.*/, '');
  const forks = text.includes('composer/fork/') ? new Forks(module) : undefined;
  module._compile(`${text}\n;module.__whisk = typeof ${first} === 'undefined' ? undefined : ${first};`, file);
  const own = module.__whisk === undefined ? undefined : { [first]: module.__whisk };
  const found = follow(module.exports, main) ?? follow(own, main);
  return forks && typeof found === 'function' ? forks.around(found) : found;
}

function follow(holder, main) {
  let value = holder;
  for (const name of main.split('.')) value = value?.[name];
  return value;
}

function invoker(main, complete) {
  const env = process.env;
  const changed = new Map(); // variables that the call before set, and what they were
  // Where functions reach the platform by a router of their own, host and key are those of the instance: its own token.
  if (env.DAYFLY_URL) env.__OW_API_HOST = env.DAYFLY_URL;
  const ownKey = env.DAYFLY_TOKEN ? `dayfly:${env.DAYFLY_TOKEN}` : '';
  return (args, context) => {
    env.__OW_ACTIVATION_ID = env.__OW_TRANSACTION_ID = context.invocationId;
    env.__OW_DEADLINE = String(Math.floor(context.deadline * 1000));
    for (const [key, before] of changed) if (before === undefined) delete env[key]; else env[key] = before;
    changed.clear();
    if (context.client) {
      const { init = {}, ...told } = JSON.parse(context.client); // `init`: parameters that are environment
      for (const [key, value] of Object.entries(init)) {
        changed.set(key, env[key]);
        env[key] = value;
      }
      for (const [key, value] of Object.entries(told)) env[`__OW_${key.toUpperCase()}`] = key === 'api_key' ? ownKey || value : value;
    }
    let result;
    try {
      result = main(complete(args));
    } catch (error) {
      console.error(error);
      throw new DeveloperError(`An error has occurred: ${error}`);
    }
    return typeof result?.then === 'function' ? result.then(checked, rejected) : checked(result);
  };
}

function checked(result) {
  if (result === undefined) return {};
  if (typeof result !== 'object' || result === null) throw new DeveloperError(NO_DICTIONARY);
  return result;
}

function rejected(error) {
  if (!error) return { error: {} };
  return { error: plain(error, new Set()) };
}

/** As JSON can hold it: an Error becomes an object of its name, message, stack and own properties. */
function plain(value, above) {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (typeof value !== 'object' || value === null || typeof value.toJSON === 'function') return value;
  if (above.has(value)) return '[Circular]';
  above.add(value);
  const copy = Array.isArray(value) ? [] : {};
  for (const key of Object.keys(value)) copy[key] = plain(value[key], above);
  if (value instanceof Error) for (const key of ['name', 'message', 'stack', 'code']) if (typeof value[key] === 'string') copy[key] = value[key];
  above.delete(value);
  return copy;
}

module.exports = { load };
