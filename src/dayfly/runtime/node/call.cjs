'use strict';
/* What a handler receives: a context, and in the HTTP flavour a request. */

const querystring = require('node:querystring');

/** One call. `deadline` is in seconds since the epoch; `attempt` counts from 1. */
class Context {
  #work;
  #head;
  #aborter = null;
  #aborted = false;

  constructor(work, head) {
    this.#work = work;
    this.#head = head;
    this.invocationId = head.id;
    this.deadline = head.deadline;
  }

  get function() {
    return this.#work.function;
  }

  get namespace() {
    return this.#work.namespace;
  }

  get revision() {
    return this.#work.revision;
  }

  get memoryLimitMb() {
    return this.#work.memory_mb;
  }

  get attempt() {
    return this.#head.attempt ?? 1;
  }

  /** Id of the invocation or event that caused this one; empty if a client called. */
  get cause() {
    return this.#head.cause ?? '';
  }

  /** How many functions stand above this one: 0 when a client called it. */
  get depth() {
    return this.#head.depth ?? 0;
  }

  get client() {
    return this.#head.client ?? '';
  }

  /** The W3C `traceparent` of the call; empty if it has none. */
  get traceParent() {
    return this.#head.trace ?? '';
  }

  /** Aborted when the call is cancelled. */
  get signal() {
    this.#aborter ??= new AbortController();
    if (this.#aborted) this.#aborter.abort();
    return this.#aborter.signal;
  }

  /** Seconds until the call is killed; never negative. */
  remaining() {
    return Math.max(0, this.deadline - Date.now() / 1000);
  }

  /** The same in milliseconds. */
  getRemainingTimeInMillis() {
    return Math.floor(this.remaining() * 1000);
  }

  get logger() {
    return logger;
  }

  /** For the runtime: the call was cancelled. */
  static abort(context) {
    context.#aborted = true;
    context.#aborter?.abort();
  }
}

function logAt(level) {
  return (...parts) => console.error(level, ...parts);
}

/** Writes to the log of the running invocation. */
const logger = Object.freeze({ info: logAt('INFO'), warn: logAt('WARNING'), error: logAt('ERROR'), debug() {} });

/** Headers of a request: names compare without case, repeats are kept. */
class Headers {
  #pairs;

  constructor(pairs) {
    this.#pairs = pairs; // [name in lower case, value], in order of arrival
  }

  /** The first value, or null. */
  get(name) {
    const wanted = name.toLowerCase();
    const pair = this.#pairs.find(([key]) => key === wanted);
    return pair ? pair[1] : null;
  }

  getAll(name) {
    const wanted = name.toLowerCase();
    return this.#pairs.filter(([key]) => key === wanted).map(([, value]) => value);
  }

  has(name) {
    return this.get(name) !== null;
  }

  entries() {
    return this.#pairs.map((pair) => [...pair])[Symbol.iterator]();
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toJSON() {
    return this.#pairs;
  }
}

/** One HTTP request. `path` is what follows the function's own address, percent-encoding kept; `body` is a Buffer. */
class Request {
  constructor(http, body) {
    this.method = http.method;
    this.path = http.path;
    this.query = http.query; // raw, without the question mark
    this.headers = new Headers(http.headers);
    this.body = body;
  }

  /** Decoded parameters. */
  get queryParams() {
    return new URLSearchParams(this.query);
  }

  /** The media type without parameters, in lower case; empty if there is none. */
  get contentType() {
    return (this.headers.get('content-type') ?? '').split(';', 1)[0].trim().toLowerCase();
  }

  text() {
    return this.body.toString('utf8');
  }

  json() {
    return JSON.parse(this.text());
  }

  /** The fields of an `application/x-www-form-urlencoded` body. */
  form() {
    return querystring.parse(this.text());
  }
}

module.exports = { Context, Request };
