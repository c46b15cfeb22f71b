'use strict';
/*
 * Node tells nobody where the syntax error of an ES module is, except in the message it dies with. So when one does not load, `node --check`
 * goes over the package's modules until it finds the same error. Costs tens of milliseconds a file, and only then.
 */

const fs = require('node:fs');
const path = require('node:path');

const FILES = 20; // checked at most

function modules(folder, found) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== 'node_modules') modules(file, found);
    else if (/\.m?js$/.test(entry.name)) found.push(file);
  }
  return found;
}

/** {file, line} of the module in the package that has this syntax error, or null. `first` is checked first. */
function locate(error, root, first) {
  const { spawnSync } = require('node:child_process');
  const files = [...new Set([first, ...modules(root, [])])].slice(0, FILES);
  for (const file of files) {
    const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', env: {}, timeout: 2000 });
    const match = /^(.+):(\d+)\n/.exec(stderr ?? '');
    if (match && stderr.includes(`SyntaxError: ${error.message}`)) return { file, line: Number(match[2]) };
  }
  return null;
}

module.exports = { locate };
