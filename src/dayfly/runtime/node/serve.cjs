'use strict';
/*
 * Calls from frames to frames. The gateway never has more calls open than the revision's concurrency; Node runs them as they come. An error
 * that nobody caught belongs to the call in whose asynchronous context it was thrown.
 */

const { Context, Request } = require('./call.cjs');
const { CHUNK, EMPTY, encode, encodeData, END, KIND, Parser } = require('./frames.cjs');
const { headOf, piece, Refused, Unencodable } = require('./reply.cjs');

const EVENT_HTTP = { method: 'POST', path: '/', query: '', headers: [['content-type', 'application/json']] };
const CANCELLED = JSON.stringify({ type: 'Cancelled', message: 'the call was cancelled', trace: [] });

/** One call under way. After `ended` nothing of it is sent any more. */
class Call {
  constructor(socket, stream, head) {
    this.socket = socket;
    this.stream = stream;
    this.head = head;
    this.id = head.id;
    this.parts = [];
    this.context = null;
    this.ended = false;
  }
}

class Server {
  constructor(work, storage, rules) {
    this.work = work;
    this.rules = rules; // the contract: see contracts.cjs
    this.http = work.flavour === 'http';
    this.storage = storage;
    this.handler = null;
    this.listener = null;
    if ('hold' in rules) rules.hold = (on) => this.hold(on);
    this.output = null;
    this.currentId = '';
    this.begun = false;
    this.open = new Map(); // stream -> Call, of the present connection
    this.cpu = 0;
    this.usage();
  }

  /** Processor time since the last answer (calls that overlap share it; the sum is exact) and the resident high-water mark. */
  usage() {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    const now = userCPUTime + systemCPUTime;
    const used = now - this.cpu;
    this.cpu = now;
    return { cpu_us: used, rss_kb: maxRSS };
  }

  /** Answer calls that come on this connection until the gateway goes. */
  serve(socket, ready) {
    socket.write(ready);
    this.socket = socket;
    const parser = new Parser((kind, end, stream, payload) => this.onFrame(socket, kind, end, stream, payload));
    socket.on('data', (data) => parser.feed(data));
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const call of this.open.values()) if (call.socket === socket) this.abandon(call);
    });
  }

  /** Whether the gateway keeps the event loop alive: without it, the loop is empty once user code has nothing left to do. */
  hold(on) {
    for (const each of [this.socket, this.listener]) {
      if (on) each.ref();
      else each.unref();
    }
  }

  onFrame(socket, kind, end, stream, payload) {
    if (kind === KIND.STOP) {
      this.rules.stop?.();
      return;
    }
    if (kind === KIND.REQUEST) {
      const call = new Call(socket, stream, JSON.parse(payload.toString()));
      this.open.set(stream, call);
      if (end) this.begin(call);
      return;
    }
    const call = this.open.get(stream);
    if (call === undefined) return;
    if (kind === KIND.CANCEL) {
      this.finish(call, encode(KIND.ERROR | END, stream, CANCELLED));
      if (call.context instanceof Context) Context.abort(call.context);
    } else if (kind === KIND.DATA && call.context === null) {
      call.parts.push(payload);
      if (end) this.begin(call);
    }
  }

  begin(call) {
    this.begun = true;
    this.output.tail(call.head.client?.includes('"tail"') ?? false);
    call.context = this.rules.context(this.work, call.head);
    const body = call.parts.length === 1 ? call.parts[0] : Buffer.concat(call.parts);
    call.parts = null;
    if (this.storage === null) {
      this.currentId = call.id;
      this.run(call, body);
    } else {
      this.storage.run(call, () => this.run(call, body));
    }
  }

  async run(call, body) {
    try {
      let input;
      if (this.http) {
        input = new Request(call.head.http ?? EVENT_HTTP, body);
      } else {
        try {
          input = body.length ? JSON.parse(decode(body)) : {};
        } catch (error) {
          this.badEvent(call, error);
          return;
        }
      }
      let result = this.rules.invoke(this.handler, input, call.context);
      if (typeof result?.then === 'function') result = await result;
      const answer = this.rules.prepare(result, this.http);
      if (answer.items) await this.stream(call, answer);
      else this.answer(call, answer.head, answer.body);
    } catch (error) {
      this.fail(call, error);
    }
  }

  answer(call, head, body) {
    this.output.finish(call.id);
    const first = JSON.stringify({ ...head, ...this.usage(), ...this.output.told() });
    const data = typeof body === 'string' ? Buffer.from(body) : body;
    if (data.length === 0) {
      this.finish(call, encode(KIND.RESPONSE | END, call.stream, first));
    } else if (data.length <= CHUNK) {
      const frames = [encode(KIND.RESPONSE, call.stream, first), encode(KIND.DATA | END, call.stream, data)];
      this.finish(call, Buffer.concat(frames));
    } else {
      call.socket.cork();
      this.finish(call, encode(KIND.RESPONSE, call.stream, first), ...encodeData(call.stream, data, true));
      call.socket.uncork();
    }
  }

  async stream(call, answer) {
    let { head, sse } = answer;
    if (head !== null) this.send(call, encode(KIND.RESPONSE, call.stream, JSON.stringify({ ...head, ...this.usage() })));
    for await (let item of answer.items) {
      if (call.ended) return; // leaving the loop ends the generator
      if (head === null) {
        const first = headOf(item, this.http);
        ({ head, sse } = first);
        this.send(call, encode(KIND.RESPONSE, call.stream, JSON.stringify({ ...head, ...this.usage() })));
        if (first.used) continue;
      }
      item = piece(item, sse);
      if (item.length === 0) continue;
      let room = true;
      for (const frame of encodeData(call.stream, item, false)) room = this.send(call, frame);
      if (!room) await drained(call.socket);
    }
    if (head === null) this.answer(call, headOf(undefined).head, EMPTY);
    else this.finish(call, encode(KIND.DATA | END, call.stream));
  }

  send(call, frame) {
    return call.ended || call.socket.destroyed || call.socket.write(frame);
  }

  finish(call, ...frames) {
    if (call.ended) return;
    this.output.finish(call.id);
    for (const frame of frames) this.send(call, frame);
    this.abandon(call);
  }

  abandon(call) {
    call.ended = true;
    if (this.open.get(call.stream) === call) this.open.delete(call.stream);
  }

  badEvent(call, error) {
    const problem = {
      type: 'https://dayfly.dev/problems/bad-input',
      title: 'The request cannot be understood',
      status: 400,
      detail: `the event is not JSON: ${error.message}`.slice(0, 500),
    };
    this.answer(call, { status: 400, headers: [['content-type', 'application/problem+json']] }, JSON.stringify(problem));
  }

  fail(call, error) {
    if (call.ended) return;
    if (error instanceof Refused || error instanceof Unencodable) {
      process.stderr.write(`the answer was refused: ${error.message}\n`);
      const payload = JSON.stringify({ message: error.message.slice(0, 4096) });
      this.finish(call, encode(KIND.REFUSED | END, call.stream, payload));
      return;
    }
    const described = this.rules.describe(error, this.work);
    process.stderr.write(this.rules.logText(described, call.head));
    this.output.finish(call.id);
    Object.assign(described, this.rules.wantsUsage ? this.usage() : {}, this.output.told());
    this.finish(call, encode(KIND.ERROR | END, call.stream, JSON.stringify(described)));
  }

  /** End the process, and with it the running call: whoever waits for it is told why. */
  die({ described, text, status }) {
    process.stderr.write(text);
    this.output.finish(this.currentId);
    for (const call of this.open.values()) call.ended = true;
    this.socket.end(encode(KIND.FAILED | END, 0, JSON.stringify(described)), () => process.exit(status));
  }

  /** From now on, errors that nobody catches end the call they come from; if they come from none, the instance. */
  watch() {
    const onStray = (error, origin) => {
      if (this.rules.fatal) {
        this.die(this.rules.fatal(error, origin));
        return;
      }
      const calls = [...this.open.values()].filter((call) => call.context !== null);
      const own = this.storage?.getStore();
      if (own !== undefined && !own.ended) this.fail(own, error);
      else if (own === undefined && calls.length === 1) this.fail(calls[0], error);
      else {
        const described = this.rules.describe(error, this.work);
        process.stderr.write(`outside of any call: ${this.rules.logText(described, null)}this instance ends\n`);
        for (const call of calls) this.fail(call, error);
        process.exit(1);
      }
    };
    process.on('uncaughtException', onStray);
    process.on('unhandledRejection', (error) => onStray(error, 'unhandledRejection'));
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decode(body) {
  return utf8.decode(body);
}

function drained(socket) {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

module.exports = { Server };
