'use strict';
/*
 * The process inside a sandbox that runs one Node function. It listens on descriptor 3 (a Unix socket; the gateway connects) and speaks
 * frames. Its work is JSON in the environment variable DAYFLY_WORK; without it, it waits for one line of JSON on descriptor 4: that is a
 * process started ahead of need, which becomes an instance in the moment the line comes. Either way user code finds only
 * the environment of its own.
 *
 * Life: load user code -> accept -> READY -> calls; if loading fails: accept -> FAILED -> exit status 1.
 */

const fs = require('node:fs');
const net = require('node:net');
const { AsyncLocalStorage } = require('node:async_hooks');
const { contract, NAMES } = require('./contracts.cjs');
const { LoadFailed } = require('./errors.cjs');
const { encode, END, KIND } = require('./frames.cjs');
const { install, NO_CALL } = require('./output.cjs');
const { Server } = require('./serve.cjs');

const LISTEN_FD = 3;
const WORK_FD = 4;

function readWork() {
  if (process.env.DAYFLY_WORK) return JSON.parse(process.env.DAYFLY_WORK);
  const parts = [];
  const piece = Buffer.alloc(65536);
  for (;;) {
    const count = fs.readSync(WORK_FD, piece);
    if (!count) process.exit(0); // whoever wanted to give us work has gone
    parts.push(Buffer.from(piece.subarray(0, count)));
    if (piece[count - 1] === 10) break;
  }
  fs.closeSync(WORK_FD);
  return JSON.parse(Buffer.concat(parts).toString());
}

/** Replace all that this process inherited. */
function settle(work, environment) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, work.platform, environment); // platform: where it answers this function, and as whom
  process.umask(0o022);
  process.chdir(work.task_root);
}

async function main() {
  const work = readWork();
  const wanted = work.contract || 'dayfly';
  const rules = contract(wanted) ?? contract('dayfly');
  settle(work, rules.environment(work));
  await rules.open?.(work);
  const storage = work.concurrency > 1 ? new AsyncLocalStorage() : null;
  const server = new Server(work, storage, rules);
  const output = install(storage ? () => storage.getStore()?.id ?? (server.begun ? NO_CALL : '') : () => server.currentId);
  server.output = output;
  const listener = net.createServer();
  const started = process.hrtime.bigint();
  let failed = null;
  const onStray = (error) => (failed ??= error); // thrown while loading, outside of the module's own evaluation
  process.on('uncaughtException', onStray);
  try {
    if (!NAMES.includes(wanted)) throw new LoadFailed(`there is no contract '${wanted}' for Node; there is: ${NAMES.join(', ')}`);
    server.handler = await rules.load(work);
  } catch (error) {
    failed = error ?? new Error('the module threw nothing');
  }
  process.off('uncaughtException', onStray);
  const stop = failed ? 0 : await rules.started?.();
  output.finish('');
  if (failed) {
    const described = rules.describeLoad(failed, work);
    process.stderr.write(rules.logText(described, null));
    const payload = encode(KIND.FAILED | END, 0, JSON.stringify(described));
    listener.on('connection', (socket) => socket.end(payload, () => process.exit(1)));
  } else {
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const ready = encode(KIND.READY, 0, JSON.stringify(stop ? { init_s: seconds, stop_s: stop } : { init_s: seconds }));
    server.listener = listener;
    listener.on('connection', (socket) => server.serve(socket, ready));
    server.watch();
  }
  listener.listen({ fd: LISTEN_FD });
}

main();
