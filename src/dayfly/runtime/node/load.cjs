'use strict';
/*
 * Finds the handler: MODULE.FUNCTION in the package, CommonJS or an ES module. MODULE is a path with slashes or dots, without its ending:
 * .js, .mjs, .cjs, or a folder with an index.
 */

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { LoadFailed } = require('./errors.cjs');
const { locate } = require('./syntax.cjs');

const ENDINGS = ['.js', '.mjs', '.cjs'];
const IS_ESM = new Set(['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE']);

/** Dependencies that lie elsewhere than beside or above the package (only without isolation). */
function searchIn(folders) {
  if (!folders.length) return;
  process.env.NODE_PATH = folders.join(path.delimiter);
  Module._initPaths();
  const hook = `
    import { createRequire } from 'node:module';
    import { pathToFileURL } from 'node:url';
    export async function resolve(name, context, next) {
      try {
        return await next(name, context);
      } catch (error) {
        if (error.code !== 'ERR_MODULE_NOT_FOUND' || /^[./]/.test(name)) throw error;
        for (const folder of ${JSON.stringify(folders)}) {
          try {
            return await next(name, { ...context, parentURL: pathToFileURL(folder.replace(/\\/node_modules\\/?$/, '') + '/_.mjs').href });
          } catch {}
          try {
            return await next(pathToFileURL(createRequire(folder + '/_.cjs').resolve(name)).href, context);
          } catch {}
        }
        throw error;
      }
    }`;
  return () => Module.register('data:text/javascript,' + encodeURIComponent(hook));
}

function findFile(root, name) {
  for (const base of new Set([name, name.replaceAll('.', '/')])) {
    for (const ending of ENDINGS) {
      for (const candidate of [base + ending, path.join(base, 'index' + ending)]) {
        const file = path.join(root, candidate);
        if (fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
      }
    }
  }
  let have = [];
  try {
    have = fs.readdirSync(path.join(root, path.dirname(name))).filter((entry) => entry !== 'node_modules').sort();
  } catch {}
  const listed = have.slice(0, 20).join(', ') || 'nothing';
  throw new LoadFailed(`the package has no module ${name} (${name}.js, .mjs or .cjs); in that place it has: ${listed}`);
}

function isEsm(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).type === 'module';
    } catch (error) {
      if (error.code !== 'ENOENT' || folder === path.dirname(folder)) return false;
    }
  }
}

/** Load user code and return the handler. Throws what user code throws, or LoadFailed. */
async function load(work) {
  const at = work.handler.lastIndexOf('.');
  const [name, wanted] = [work.handler.slice(0, at), work.handler.slice(at + 1)];
  if (at < 1 || !wanted) throw new LoadFailed(`the handler '${work.handler}' is not of the form MODULE.FUNCTION`);
  const useHook = searchIn(work.deps_roots ?? []);
  const file = findFile(work.task_root, name);
  let exported;
  if (!isEsm(file)) {
    try {
      exported = Module.createRequire(file)(file);
    } catch (error) {
      const looksEsm = error instanceof SyntaxError && /import statement|Unexpected token 'export'|import\.meta/.test(error.message);
      if (!IS_ESM.has(error?.code) && !looksEsm) throw error;
    }
  }
  if (exported === undefined) {
    useHook?.();
    try {
      exported = await import(pathToFileURL(file).href);
    } catch (error) {
      if (error instanceof SyntaxError) error.place = locate(error, work.task_root, file);
      throw error;
    }
  }
  return pick(exported, wanted, work.handler, file);
}

function pick(exported, wanted, handler, file) {
  const inside = exported !== null && typeof exported === 'object' ? exported.default : undefined;
  const found = exported?.[wanted] ?? inside?.[wanted];
  if (typeof found === 'function') return found;
  if (found !== undefined) throw new LoadFailed(`${handler} is of type ${typeof found}, not a function`, file);
  const names = [exported, inside]
    .filter((holder) => holder !== null && (typeof holder === 'object' || typeof holder === 'function'))
    .flatMap((holder) => Object.keys(holder).filter((key) => typeof holder[key] === 'function'));
  const listed = [...new Set(names)].sort().slice(0, 20).join(', ');
  throw new LoadFailed(
    `${path.basename(file)} exports no function '${wanted}'; ` + (listed ? `it exports: ${listed}` : 'it exports no function at all'),
    file,
  );
}

module.exports = { findFile, isEsm, load, searchIn };
