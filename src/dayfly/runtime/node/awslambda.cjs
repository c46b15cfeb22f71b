'use strict';
/*
 * The contract of AWS Lambda for Node: what AWS's runtime for Node does with a handler, as its documentation describes it
 * (docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html, -context, -logging, and response streaming).
 *
 * A call's `client` is JSON: arn, context, identity, trace, tenant, and tail, if the caller wants the end of what the call prints.
 */

const { PassThrough } = require('node:stream');
const { format } = require('node:util');
const path = require('node:path');
const Module = require('node:module');
const { pathToFileURL } = require('node:url');
const { Api } = require('./awsapi.cjs');
const { findFile, isEsm } = require('./load.cjs');

const RESPONSE_LIMIT = 6 * 1024 * 1024 + 100; // bytes, as Lambda counts
const STREAMS = Symbol.for('dayfly.lambda.streams');
const PRELUDE = 'application/vnd.awslambda.http-integration-response';

class LambdaError extends Error {
  constructor(type, message) {
    super(message);
    Object.defineProperty(this, 'name', { value: type });
    this.stack = undefined;
  }
}

function environment(work) {
  const options = work.options ?? {};
  const region = options.region ?? 'us-east-1';
  const version = options.version ?? '$LATEST';
  const major = parseInt((options.runtime ?? 'nodejs20.x').slice('nodejs'.length), 10); // as the function says, whose layers are made for it
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '/');
  const base = {
    AWS_ACCESS_KEY_ID: 'ASIA' + work.id.slice(0, 16).toUpperCase(),
    AWS_SECRET_ACCESS_KEY: work.id + work.id.slice(0, 8),
    AWS_SESSION_TOKEN: work.id,
    AWS_DEFAULT_REGION: region,
    AWS_REGION: region,
    AWS_EXECUTION_ENV: 'AWS_Lambda_' + (options.runtime ?? 'nodejs20.x'),
    AWS_LAMBDA_FUNCTION_NAME: work.function,
    AWS_LAMBDA_FUNCTION_VERSION: version,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(work.memory_mb),
    AWS_LAMBDA_INITIALIZATION_TYPE: options.initialization ?? 'on-demand',
    AWS_LAMBDA_LOG_GROUP_NAME: options.group || '/aws/lambda/' + work.function,
    AWS_LAMBDA_LOG_STREAM_NAME: `${day}/[${version}]${work.id}`,
    AWS_LAMBDA_RUNTIME_API: '127.0.0.1:9001',
    AWS_XRAY_CONTEXT_MISSING: 'LOG_ERROR',
    AWS_XRAY_DAEMON_ADDRESS: '169.254.100.1:2000',
    _AWS_XRAY_DAEMON_ADDRESS: '169.254.100.1',
    _AWS_XRAY_DAEMON_PORT: '2000',
    LAMBDA_TASK_ROOT: work.task_root,
    LAMBDA_RUNTIME_DIR: '/var/runtime',
    LANG: 'en_US.UTF-8',
    LD_LIBRARY_PATH: '/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib',
    NODE_PATH: `/opt/nodejs/node${major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task`,
    PATH: '/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin',
    PWD: work.task_root,
    SHLVL: '0',
    TZ: ':UTC',
    _HANDLER: work.handler,
  };
  if (work.tmp) base.TMPDIR = work.tmp; // without isolation /tmp is the machine's
  if (options.format === 'JSON') Object.assign(base, { AWS_LAMBDA_LOG_FORMAT: 'JSON', AWS_LAMBDA_LOG_LEVEL: options.level ?? 'INFO' });
  return { ...base, ...work.platform, ...work.env };
}

/** Which call runs, for what is printed. */
let requestId = '';
/** Whether it comes from a function URL, which makes status and headers of a stream's prelude. */
let overHttp = false;

function stamp() {
  return new Date().toISOString();
}

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

/** Its own lines for what is printed, from the level up that the function asks for. */
function takeConsole() {
  const least = Math.max(0, LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL ?? '').toUpperCase()));
  for (const [at, level] of LEVELS.entries()) {
    console[level.toLowerCase()] = at < least && level !== 'FATAL' ? () => {} : (...parts) => process.stdout.write(line(level, parts));
  }
  console.log = console.info;
}

function line(level, parts) {
  const made = asJson()
    ? jsonText({ timestamp: stamp(), level, requestId: requestId || undefined }, parts)
    : `${stamp()}\t${requestId || 'undefined'}\t${level}\t${format(...parts)}`;
  return made.replaceAll('\n', '\r') + '\n';
}

function asJson() {
  return process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
}

/** One value is the message as it is; several are formatted, with the first error among them told besides. */
function jsonText(head, parts) {
  if (parts.length === 1) {
    try {
      return JSON.stringify({ ...head, message: parts[0] }, (_, value) => (value instanceof Error ? { ...errorFields(value), ...value } : value));
    } catch {
      return JSON.stringify({ ...head, message: format(parts[0]) });
    }
  }
  const error = parts.find((part) => part instanceof Error);
  return JSON.stringify({ ...head, message: format(...parts), ...(error === undefined ? {} : errorFields(error)) });
}

function errorFields(error) {
  const ours = error instanceof LambdaError;
  return {
    errorType: ours ? error.name.split('.')[1] : (error.constructor?.name ?? 'UnknownError'),
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : error.stack,
  };
}

async function load(work) {
  takeConsole();
  globalThis.awslambda = {
    streamifyResponse(handler) {
      handler[STREAMS] = true;
      return handler;
    },
    HttpResponseStream: {
      from(stream, prelude) {
        stream.setContentType(PRELUDE);
        stream.prelude = prelude;
        return stream;
      },
    },
  };
  const opt = work.opt_root ?? '/opt';
  process.env.NODE_PATH = process.env.NODE_PATH.replaceAll('/opt/', opt + '/').replaceAll('/var/task', work.task_root);
  Module._initPaths();
  const at = work.handler.lastIndexOf('.');
  const [name, wanted] = [work.handler.slice(0, at), work.handler.slice(at + 1)];
  if (at < 1 || !wanted) throw new LambdaError('Runtime.MalformedHandlerName', 'Bad handler');
  let file;
  try {
    file = findFile(work.task_root, name);
  } catch {
    throw new LambdaError('Runtime.ImportModuleError', `Error: Cannot find module '${path.basename(name)}'\nRequire stack:\n- /var/runtime/index.mjs`);
  }
  let exported;
  try {
    exported = isEsm(file) ? await import(pathToFileURL(file).href) : Module.createRequire(file)(file);
  } catch (error) {
    if (error instanceof SyntaxError) throw named('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`, error);
    if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
      // It was required by itself, for want of a file of ours that it may know.
      const message = error.message.replace(/(\n- [^\n]*)\1$/, '$1\n- /var/runtime/index.mjs');
      throw named('Runtime.ImportModuleError', `Error: ${message}`);
    }
    throw error;
  }
  const found = exported?.[wanted] ?? exported?.default?.[wanted];
  if (found === undefined) throw new LambdaError('Runtime.HandlerNotFound', `${work.handler} is undefined or not exported`);
  if (typeof found !== 'function') throw new LambdaError('Runtime.HandlerNotFound', `${work.handler} is not a function`);
  return found;
}

/** An error of Lambda's, with the frames of what caused it. */
function named(type, message, cause) {
  const made = new LambdaError(type, message);
  const frames = String(cause?.stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
  made.stack = [`${type}: ${message}`, ...frames].join('\n');
  return made;
}

/** The Runtime API of this process; none where the runtime itself asks one. */
let api = null;

async function open(work) {
  api = new Api(work);
  const port = await api.listen(process.pid === 1 ? 9001 : 0);
  process.env.AWS_LAMBDA_RUNTIME_API = `127.0.0.1:${port}`;
}

function started() {
  return api.started((text) => process.stdout.write(text));
}

function stop() {
  if (process.listenerCount('SIGTERM')) process.emit('SIGTERM', 'SIGTERM', 15);
  else process.exit(0);
}

/** What happens once the event loop is empty. */
let whenEmpty = null;

function empty(next) {
  whenEmpty = next;
  module.exports.hold(next === null);
}

process.on('beforeExit', () => {
  const next = whenEmpty;
  if (next === null) return;
  empty(null);
  next();
});

/** An error that nobody caught: Lambda's runtime ends with it. */
function fatal(error, origin) {
  const rejected = origin === 'unhandledRejection';
  const shown = rejected ? named('Runtime.UnhandledPromiseRejection', String(error)) : error;
  if (rejected) Object.assign(shown, { reason: error, promise: {} });
  const described = describe(shown);
  return { described, text: logText(described, { id: requestId }, rejected ? 'Unhandled Promise Rejection ' : 'Uncaught Exception '), status: rejected ? 128 : 129 };
}

function context(work, head) {
  const told = head.client ? JSON.parse(head.client) : {};
  const id = head.id;
  overHttp = told.url === true;
  requestId = `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
  process.env._X_AMZN_TRACE_ID = told.trace ?? `Root=1-${id.slice(0, 8)}-${id.slice(8)};Parent=${id.slice(8, 24)};Sampled=0`;
  const deadline = head.deadline * 1000;
  const environment = process.env;
  return {
    functionVersion: environment.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: environment.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: environment.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: environment.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: told.context ? JSON.parse(told.context) : undefined,
    identity: told.identity ? JSON.parse(told.identity) : undefined,
    tenantId: told.tenant,
    invokedFunctionArn:
      told.arn ?? `arn:aws:lambda:${environment.AWS_REGION}:${work.options?.account ?? '000000000000'}:function:${work.function}`,
    awsRequestId: requestId,
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(deadline - Date.now())),
  };
}

/** What a streaming handler writes to: what is read from it are the pieces of the answer. */
class ResponseStream extends PassThrough {
  contentType = 'application/octet-stream';
  prelude = null;

  setContentType(kind) {
    this.contentType = kind;
  }
}

function invoke(handler, input, given) {
  const run = handler[STREAMS] ? stream : plain;
  if (!api?.all.length) return run(handler, input, given);
  const event = {
    eventType: 'INVOKE',
    deadlineMs: Date.now() + given.getRemainingTimeInMillis(),
    requestId,
    invokedFunctionArn: given.invokedFunctionArn,
    tracing: { type: 'X-Amzn-Trace-Id', value: process.env._X_AMZN_TRACE_ID },
  };
  return api.begin(event).then(() => run(handler, input, given));
}

/**
 * What a promise resolves to is the answer at once. What a callback is given is the answer once the event loop is empty, unless the handler
 * says that it does not wait; and a handler that does neither answers null once it is.
 */
function plain(handler, input, given) {
  return new Promise((resolve, reject) => {
    let waits = true;
    const done = (error, result) => {
      empty(null);
      if (error === undefined || error === null) resolve(result);
      else {
        if (!(error instanceof Error)) made = new Error(error); // here, where the handler is on the stack
        reject(error);
      }
    };
    const callback = (error, result) => {
      if ((error !== undefined && error !== null) || !waits) done(error, result);
      else empty(() => setImmediate(() => done(null, result)));
    };
    Object.defineProperty(given, 'callbackWaitsForEmptyEventLoop', {
      enumerable: true,
      get: () => waits,
      set: (value) => (waits = value),
    });
    Object.assign(given, { succeed: (result) => done(null, result), fail: (error) => done(error ?? 'handled'), done });
    empty(() => done(null, null));
    try {
      const result = handler(input, given, callback);
      if (typeof result?.then === 'function') result.then(given.succeed, given.fail);
    } catch (error) {
      done(error);
    }
  });
}

function stream(handler, input, given) {
  const out = new ResponseStream();
  const ended = Promise.resolve(handler(input, out, given)).then(
    () => out.writableEnded || out.end(),
    (error) => out.destroy(error),
  );
  return new Promise((resolve, reject) => {
    out.once('error', reject);
    out.once('readable', () => {
      out.removeListener('error', reject);
      resolve(out);
    });
    ended.catch(reject);
  });
}

function prepare(result) {
  if (result instanceof ResponseStream) {
    if (overHttp && result.prelude) return { head: headOf(result.prelude), sse: false, items: result };
    const head = { headers: [['content-type', result.contentType]] };
    return { head, sse: false, items: pieces(result) };
  }
  let text;
  try {
    text = JSON.stringify(result === undefined ? null : result) ?? 'null';
  } catch {
    throw new Error('Unable to stringify response body');
  }
  const body = Buffer.from(text);
  if (body.length > RESPONSE_LIMIT) {
    throw new LambdaError('Function.ResponseSizeTooLarge', `Response payload size exceeded maximum allowed payload size (${RESPONSE_LIMIT} bytes).`);
  }
  return { head: {}, body };
}

/** Status and headers that a prelude asks for: {statusCode, headers, cookies}. */
function headOf(prelude) {
  const headers = Object.entries(prelude.headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]);
  if (!headers.some(([name]) => name === 'content-type')) headers.push(['content-type', 'application/octet-stream']);
  for (const cookie of prelude.cookies ?? []) headers.push(['set-cookie', String(cookie)]);
  return { status: Number(prelude.statusCode ?? 200), headers };
}

async function* pieces(out) {
  if (out.prelude) yield Buffer.concat([Buffer.from(JSON.stringify(out.prelude)), Buffer.alloc(8)]);
  for await (const piece of out) yield piece;
}

/** As Lambda words an error: {errorType, errorMessage, trace}. */
function worded(error) {
  if (error instanceof LambdaError && error.stack === undefined) {
    return error.name === 'Function.ResponseSizeTooLarge'
      ? { errorType: error.name, errorMessage: error.message }
      : { errorType: error.name, errorMessage: error.message, trace: [] };
  }
  if (error instanceof Error || (typeof error === 'object' && error !== null && 'stack' in error)) {
    const stack = String(error.stack ?? '').split('\n');
    const last = stack.findIndex((line) => line.includes(__dirname));
    return {
      errorType: String(error.name ?? 'Error'),
      errorMessage: String(error.message ?? ''),
      trace: last < 0 ? stack : stack.slice(0, last),
    };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

let made = null; // what the log shows of a failure that is no Error
const errors = new WeakMap(); // what was described -> the error

function describe(error) {
  const told = worded(error);
  const described = {
    type: told.errorType.slice(0, 256) || 'Error',
    message: told.errorMessage.slice(0, 8192),
    trace: (told.trace ?? []).slice(0, 50),
    payload: JSON.stringify(told).slice(0, 180_000),
  };
  errors.set(described, error);
  return described;
}

function describeLoad(error) {
  const told = worded(error);
  const [errorType, errorMessage] = [told.errorType.slice(0, 256) || 'Error', told.errorMessage.slice(0, 4096)];
  const trace = (told.trace.length ? told.trace : `${errorType}: ${errorMessage}`.split('\n')).slice(0, 50);
  return { type: errorType, message: errorMessage, trace, payload: JSON.stringify({ errorType, errorMessage, trace }) };
}

function logText(described, head, kind = head ? 'Invoke Error ' : 'Uncaught Exception ') {
  const error = errors.get(described);
  const shown = error instanceof Error || error === undefined ? error : (made ?? new Error(error));
  made = null;
  if (asJson()) return line('ERROR', [shown ?? Object.assign(new LambdaError(described.type, described.message), { stack: described.trace.join('\n') })]);
  let told = { errorType: described.type, errorMessage: described.message, stack: described.trace };
  if (error instanceof Error) {
    told = { errorType: told.errorType, errorMessage: told.errorMessage, code: error.code, ...error, stack: described.trace };
    if (error.reason instanceof Error) told.reason = { ...logFields(error.reason), ...error.reason };
  } else if (shown !== undefined) told = logFields(shown);
  return `${stamp()}\t${head ? requestId : 'undefined'}\tERROR\t${kind}\t${JSON.stringify(told)}\n`;
}

function logFields(error) {
  return { errorType: error.name, errorMessage: error.message, stack: String(error.stack).split('\n') };
}

module.exports = { wantsUsage: true, hold() {}, open, started, stop, fatal, environment, load, context, invoke, prepare, describe, describeLoad, logText };
