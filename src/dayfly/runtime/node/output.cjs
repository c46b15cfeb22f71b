'use strict';
/*
 * What user code prints, tagged with the call that printed it (the same format as in the Python runtime): whole lines go to descriptors
 * 1 and 2, and before the first line of another call than the last on that stream stands 0x1E, 32 hexadecimal digits, newline.
 * The call is known through AsyncLocalStorage, or, with one call at a time, through a plain variable, which costs nothing.
 */

const fs = require('node:fs');
const { Writable } = require('node:stream');
const { StringDecoder } = require('node:string_decoder');

const NO_CALL = '0'.repeat(32);
const HOLD = 64 << 10; // characters of an unfinished line that are kept back
const TAIL = 4096; // characters of log that a caller can have
let tail = null; // the end of what the running call printed, if its caller wants it
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function writeAll(fd, text) {
  const data = Buffer.from(text);
  let at = 0;
  while (at < data.length) {
    try {
      at += fs.writeSync(fd, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return; // the reader has gone: printing must not fail for that
      Atomics.wait(sleeper, 0, 0, 1); // a full pipe that user code made non-blocking
    }
  }
}

class Lines extends Writable {
  constructor(fd, currentId) {
    super({ decodeStrings: false });
    this.fd = fd;
    this.isTTY = false;
    this.currentId = currentId;
    this.last = '';
    this.partial = new Map(); // unfinished line of each call
    this.decoder = new StringDecoder('utf8');
  }

  _write(chunk, encoding, done) {
    this.put(typeof chunk === 'string' ? chunk : this.decoder.write(chunk));
    done();
  }

  _destroy(error, done) {
    done(); // stays open: the next call prints too
  }

  put(text) {
    const id = this.currentId();
    const held = (this.partial.get(id) || '') + text;
    const cut = held.lastIndexOf('\n') + 1;
    if (cut === 0 && held.length <= HOLD) {
      this.partial.set(id, held);
      return;
    }
    const rest = cut ? held.slice(cut) : '';
    if (rest) this.partial.set(id, rest);
    else this.partial.delete(id);
    this.write_(id, cut ? held.slice(0, cut) : held);
  }

  /** End the call's unfinished line, so that a marker always stands at the start of one. */
  finish(id) {
    const text = this.partial.get(id);
    if (text === undefined) return;
    this.partial.delete(id);
    if (text) this.write_(id, text + '\n');
  }

  write_(id, text) {
    if (tail !== null) tail = (tail + text).slice(-TAIL);
    let marker = '';
    if (id !== this.last) {
      marker = '\x1e' + id + '\n';
      this.last = id;
    }
    writeAll(this.fd, marker + text);
  }
}

/** Replace process.stdout and process.stderr, and with them console. `currentId()` is '' before the first call. */
function install(currentId) {
  const streams = { stdout: new Lines(1, currentId), stderr: new Lines(2, currentId) };
  for (const name of Object.keys(streams)) {
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => streams[name] });
  }
  return {
    ...streams,
    /** A call begins; `wanted`: whether its caller wants the end of what it prints. */
    tail(wanted) {
      tail = wanted ? '' : null;
    },
    /** That end, for the head of the answer. */
    told() {
      return tail === null ? {} : { log: tail };
    },
    finish(id) {
      streams.stdout.finish(id);
      streams.stderr.finish(id);
    },
  };
}

module.exports = { NO_CALL, install };
