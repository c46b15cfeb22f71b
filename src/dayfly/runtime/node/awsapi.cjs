'use strict';
/*
 * The Runtime API within a Node function of AWS Lambda, whose calls come over frames: for extensions in the function's own process. It
 * listens from the start and costs nothing more until somebody connects (what serves is loaded only then).
 *
 * Wire: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html. The same for Python: runtime/python/extensions.py.
 */

const net = require('node:net');

const EXTENSION = '/2020-01-01/extension/';
const LIMIT = 10; // extensions of one instance
const BODY = 64 << 10; // bytes of a request

class Api {
  constructor(work) {
    this.work = work;
    this.all = []; // {name, id, events, ready, waits, inbox, answer}
    this.closed = false; // the function is loaded: nobody registers any more
    this.http = null;
    this.changed = () => {};
  }

  /** Take connections; resolves with the port. */
  listen(port) {
    const server = net.createServer((socket) => {
      this.http ??= require('node:http').createServer((request, response) => this.read(request, response));
      this.http.emit('connection', socket.unref());
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => resolve(server.unref().address().port));
    });
  }

  /** The function is loaded: resolves with what its extensions ask for at the end, in seconds. */
  async started(say) {
    await this.until(() => this.all.every((each) => each.ready));
    this.closed = true;
    for (const each of this.all) say(`EXTENSION\tName: ${each.name}\tState: Ready\tEvents: [${each.events.join(', ')}]\n`);
    return this.all.length ? 0.5 : 0;
  }

  /** A call begins: resolves once the extensions are done with the one before, and have been told. */
  async begin(event) {
    await this.until(() => this.all.every((each) => each.waits));
    for (const each of this.all) {
      if (!each.events.includes('INVOKE')) continue;
      each.inbox.push(event);
      this.hand(each);
    }
  }

  async until(done) {
    while (!done()) await new Promise((resolve) => (this.changed = resolve));
  }

  read(request, response) {
    const parts = [];
    let size = 0;
    request.on('data', (part) => {
      size += part.length;
      if (size > BODY) request.destroy();
      else parts.push(part);
    });
    request.on('end', () => this.answer(request, response, Buffer.concat(parts).toString()));
  }

  answer(request, response, body) {
    const path = request.url.split('?')[0];
    const refuse = (status, errorType, errorMessage) => reply(response, status, { errorMessage, errorType });
    if (path === '/2018-06-01/ping') {
      response.end('pong');
      return;
    }
    if (path.startsWith('/2018-06-01/runtime/')) {
      refuse(403, 'InvalidStateTransition', "State transition is not allowed: the function's own runtime takes its calls");
      return;
    }
    if (path === EXTENSION + 'register' && request.method === 'POST') {
      this.register(request, response, body, refuse);
      return;
    }
    const extension = this.all.find((each) => each.id === request.headers['lambda-extension-identifier']);
    if (extension === undefined) {
      if (path.startsWith(EXTENSION)) refuse(403, 'Extension.UnknownExtensionIdentifier', 'Unknown extension identifier');
      else refuse(404, 'Runtime.UnknownPath', `there is no ${request.method} ${path}`);
    } else if (path === EXTENSION + 'event/next' && request.method === 'GET') {
      extension.ready = extension.waits = true;
      extension.answer = response;
      this.changed();
      this.hand(extension);
    } else if (path === EXTENSION + 'init/error' || path === EXTENSION + 'exit/error') {
      reply(response, 202, { status: 'OK' });
      response.on('finish', () => process.exit(1));
    } else if (path === '/2022-07-01/telemetry' || path === '/2020-08-15/logs') {
      refuse(202, 'Telemetry.NotSupported', 'Telemetry API is not supported');
    } else {
      refuse(404, 'Runtime.UnknownPath', `there is no ${request.method} ${path}`);
    }
  }

  register(request, response, body, refuse) {
    const name = request.headers['lambda-extension-name'];
    let events;
    try {
      events = JSON.parse(body || '{}').events ?? [];
    } catch {
      refuse(403, 'InvalidRequestFormat', 'the body is not JSON');
      return;
    }
    const unknown = events.find((event) => event !== 'INVOKE');
    if (!name) refuse(403, 'Extension.InvalidExtensionName', 'Empty extension name');
    else if (unknown !== undefined) refuse(403, 'Extension.InvalidEventType', `${unknown}: there is no such event for this extension`);
    else if (this.all.some((each) => each.name === name)) {
      refuse(403, 'Extension.InvalidExtensionState', 'Extension with this name already registered');
    } else if (this.closed) refuse(403, 'Extension.RegistrationClosed', 'Extension registration closed already');
    else if (this.all.length >= LIMIT) refuse(403, 'Extension.TooManyExtensions', `Extension limit (${LIMIT}) reached`);
    else {
      const id = require('node:crypto').randomUUID();
      this.all.push({ name, id, events, ready: false, waits: false, inbox: [], answer: null });
      const { work } = this;
      const told = { functionName: work.function, functionVersion: work.options?.version ?? '$LATEST', handler: work.handler };
      if (request.headers['lambda-extension-accept-feature']?.includes('accountId')) {
        told.accountId = work.options?.account ?? '000000000000';
      }
      response.setHeader('Lambda-Extension-Identifier', id);
      reply(response, 200, told);
    }
  }

  hand(extension) {
    if (extension.answer === null || extension.inbox.length === 0) return;
    const response = extension.answer;
    extension.answer = null;
    extension.waits = false;
    response.setHeader('Lambda-Extension-Event-Identifier', require('node:crypto').randomUUID());
    reply(response, 200, extension.inbox.shift());
  }
}

function reply(response, status, value) {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(value));
}

module.exports = { Api };
