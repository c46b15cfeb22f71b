'use strict';
/*
 * `node -r rapid_client.cjs .../aws-lambda-ric/bin/index.mjs HANDLER`: AWS's client without its part in C++, which takes minutes to compile.
 * All that handlers can notice is in its JavaScript; what is here instead only carries bytes to the Runtime API and back.
 */

const { spawnSync } = require('node:child_process');
const http = require('node:http');
const Module = require('node:module');

const resolve = Module._resolveFilename;
Module._resolveFilename = (request, ...more) => (request === './rapid-client.node' ? __filename : resolve(request, ...more));

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const API = '/2018-06-01/runtime/invocation/';

exports.next = () =>
  new Promise((done, failed) => {
    const request = http.get({ host, port, path: API + 'next', agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      request.on('close', () => done({ bodyJson: Buffer.concat(parts).toString(), headers: response.headers }));
    });
    request.on('error', failed);
  });

/** The caller may end the process next, so this returns when it is answered. */
function post(path, body) {
  const bytes = Buffer.from(body);
  const head = `POST ${API}${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  const input = Buffer.concat([Buffer.from(head), bytes]);
  spawnSync('bash', ['-c', `exec 3<>/dev/tcp/${host}/${port} && cat >&3 && head -c 1 <&3`], { input });
}

exports.done = (id, body) => post(`${id}/response`, body);
exports.error = (id, body) => post(`${id}/error`, body);
