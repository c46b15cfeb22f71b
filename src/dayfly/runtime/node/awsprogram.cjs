'use strict';
/*
 * The runtime of a Node function of AWS Lambda as a program of its own, which pulls its calls from the Runtime API:
 *
 *     node awsprogram.cjs OPT      OPT: the folder of the layers
 *
 * It stands in for frames (`main.cjs`) where extensions or a wrapper script stand beside the runtime. What it does with a handler is
 * the same: `awslambda.cjs`.
 */

const http = require('node:http');
const rules = require('./awslambda.cjs');
const { install } = require('./output.cjs');

const API = '/2018-06-01/runtime/';
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

/** Open a request; `answered` resolves with what comes back. */
function open(method, path, headers) {
  const url = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + API + path;
  let request;
  const answered = new Promise((resolve, reject) => {
    request = http.request(url, { method, headers, agent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(parts) }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
  return { request, answered };
}

function send(method, path, headers = {}, body = '') {
  const { request, answered } = open(method, path, method === 'POST' ? { 'content-length': Buffer.byteLength(body), ...headers } : headers);
  request.end(body);
  return answered;
}

function fail(path, described) {
  return send('POST', path, { 'lambda-runtime-function-error-type': described.type, 'content-type': 'application/json' }, described.payload);
}

/** The head of a call as frames have it. */
function headOf(headers) {
  const told = {
    arn: headers['lambda-runtime-invoked-function-arn'],
    trace: headers['lambda-runtime-trace-id'],
    context: headers['lambda-runtime-client-context'],
    identity: headers['lambda-runtime-cognito-identity'],
    tenant: headers['lambda-runtime-aws-tenant-id'],
  };
  const id = headers['lambda-runtime-aws-request-id'];
  return { id: id.replaceAll('-', ''), deadline: Number(headers['lambda-runtime-deadline-ms']) / 1000, client: JSON.stringify(told) };
}

async function pour(id, answer) {
  const kind = answer.head.headers.find(([name]) => name === 'content-type')[1];
  const headers = {
    'content-type': kind, 'lambda-runtime-function-response-mode': 'streaming', 'transfer-encoding': 'chunked',
    trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
  };
  const { request, answered } = open('POST', `invocation/${id}/response`, headers);
  try {
    for await (const piece of answer.items) if (!request.write(piece)) await new Promise((resolve) => request.once('drain', resolve));
  } catch (error) {
    const described = rules.describe(error);
    process.stderr.write(rules.logText(described, { id }));
    request.addTrailers({
      'Lambda-Runtime-Function-Error-Type': described.type,
      'Lambda-Runtime-Function-Error-Body': Buffer.from(described.payload).toString('base64'),
    });
  }
  request.end();
  await answered;
}

async function call(handler, work, { headers, body }, output) {
  const head = headOf(headers);
  const id = headers['lambda-runtime-aws-request-id'];
  const given = rules.context(work, head);
  running = id;
  try {
    const result = await rules.invoke(handler, body.length ? JSON.parse(body.toString()) : {}, given);
    const answer = rules.prepare(result, false);
    output.finish('');
    if (answer.items) await pour(id, answer);
    else await send('POST', `invocation/${id}/response`, { 'content-type': 'application/json' }, answer.body);
  } catch (error) {
    const described = rules.describe(error, work);
    process.stderr.write(rules.logText(described, head));
    output.finish('');
    await fail(`invocation/${id}/error`, described);
  }
  running = '';
}

let running = ''; // id of the running call
let started = false;

async function main() {
  const environment = process.env;
  const work = {
    opt_root: process.argv[2],
    task_root: environment.LAMBDA_TASK_ROOT,
    handler: environment._HANDLER,
    function: environment.AWS_LAMBDA_FUNCTION_NAME,
    options: {},
  };
  const output = install(() => '');
  const quit = async (error) => {
    const described = rules.describeLoad(error, work);
    process.stderr.write(rules.logText(described, null));
    output.finish('');
    await fail('init/error', described);
    process.exit(1);
  };
  const stray = async (error, origin) => {
    if (!started) {
      await quit(error);
      return;
    }
    const { described, text, status } = rules.fatal(error, origin);
    process.stderr.write(text);
    output.finish('');
    if (running) await fail(`invocation/${running}/error`, described);
    process.exit(status);
  };
  process.on('uncaughtException', (error) => stray(error, 'uncaughtException'));
  process.on('unhandledRejection', (error) => stray(error, 'unhandledRejection'));
  let handler;
  try {
    handler = await rules.load(work);
  } catch (error) {
    await quit(error);
  }
  started = true;
  for (;;) await call(handler, work, await send('GET', 'invocation/next'), output);
}

main();
