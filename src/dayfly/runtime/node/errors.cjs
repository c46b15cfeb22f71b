'use strict';
/*
 * What user code threw, as data: type, message, and a trace of the user's frames only, files relative to the package. All of it is
 * bounded, because a message may be a gigabyte.
 */

const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath } = require('node:url');
const { inspect } = require('node:util');

const MESSAGE_LIMIT = 8 << 10; // characters
const FRAME_LIMIT = 50;
const TEXT_LIMIT = 600; // characters of one frame
const CAUSES = 3;
const LONE = /\p{Surrogate}/gu; // halves of surrogate pairs, which UTF-8 cannot hold
const OURS = __dirname + path.sep;
Error.stackTraceLimit = FRAME_LIMIT;

/** The function cannot be loaded for a reason that we found, not user code: a missing handler, a wrong type. */
class LoadFailed extends Error {
  constructor(message, file = '') {
    super(message);
    this.file = file;
  }
}

function bounded(text, limit) {
  const whole = text.length <= limit ? text : text.slice(0, limit) + '... (cut)';
  return whole.replace(LONE, '\ufffd');
}

function read(error, name) {
  try {
    const value = error[name];
    return value === undefined || value === null ? '' : String(value);
  } catch {
    return `<its ${name} cannot be read>`;
  }
}

function isError(value) {
  return value instanceof Error || (typeof value === 'object' && value !== null && 'stack' in value && 'message' in value);
}

function relative(file, root) {
  const prefix = root.endsWith('/') ? root : root + '/';
  return file.startsWith(prefix) ? file.slice(prefix.length) : file;
}

/** [{fn, file, line, column}], innermost first: no frames of Node or of this runtime. */
function frames(error) {
  const found = [];
  for (const text of read(error, 'stack').split('\n')) {
    const match = /^\s+at (?:(.+?) \()?((?:file:\/\/)?\/.+?):(\d+):(\d+)\)?$/.exec(text);
    if (!match) continue;
    const file = match[2].startsWith('file://') ? fileURLToPath(match[2]) : match[2];
    if (!file.startsWith(OURS)) found.push({ fn: match[1] || '', file, line: Number(match[3]), column: Number(match[4]) });
  }
  return found;
}

function sourceLine(file, line) {
  try {
    return (fs.readFileSync(file, 'utf8').split('\n', line)[line - 1] || '').trim();
  } catch {
    return '';
  }
}

function frameText(frame, root, withSource) {
  const place = `${relative(frame.file, root)}:${frame.line}:${frame.column}`;
  const source = withSource ? sourceLine(frame.file, frame.line) : '';
  return ('at ' + (frame.fn ? `${frame.fn} (${place})` : place) + (source ? `\n    ${source}` : '')).slice(0, TEXT_LIMIT).replace(LONE, '\ufffd');
}

function typeName(error) {
  const name = read(error, 'name');
  const made = error.constructor && error.constructor.name;
  return ((name === 'Error' && made) || name || 'Error').slice(0, 256);
}

/** {type, message, trace} of whatever was thrown. */
function describe(error, root) {
  if (!isError(error)) {
    const shown = typeof error === 'string' ? error : inspect(error, { depth: 2 });
    return { type: 'Error', message: bounded(shown, MESSAGE_LIMIT), trace: [] };
  }
  const trace = frames(error).map((frame, index) => frameText(frame, root, index < 3));
  const seen = new Set([error]);
  let cause = error;
  for (let i = 0; i < CAUSES; i++) {
    try {
      cause = cause.cause;
    } catch {
      break;
    }
    if (!isError(cause) || seen.has(cause)) break;
    seen.add(cause);
    const [inner] = frames(cause);
    const place = inner ? ` ${frameText({ ...inner, fn: '' }, root, false)}` : '';
    trace.push(bounded(`caused by ${typeName(cause)}: ${read(cause, 'message')}${place}`, TEXT_LIMIT));
  }
  return { type: typeName(error), message: bounded(read(error, 'message'), MESSAGE_LIMIT), trace };
}

/** Node puts the place of a syntax error of a CommonJS module before the stack: "/path/file.js:3". */
function placeOf(error) {
  const match = /^(\/[^\n]+?):(\d+)\n/.exec(read(error, 'stack'));
  return match && { file: match[1], line: Number(match[2]) };
}

/** The same for code that fails while it is loaded, with the file and line to look at. */
function describeLoad(error, root) {
  if (error instanceof LoadFailed) {
    const payload = { type: 'HandlerError', message: error.message, trace: [] };
    if (error.file) payload.file = relative(error.file, root);
    return payload;
  }
  const payload = describe(error, root);
  payload.message = payload.message.split('\nRequire stack:')[0];
  if (!isError(error)) return payload;
  const inside = frames(error).find((frame) => frame.file.startsWith(root.endsWith('/') ? root : root + '/'));
  const place = error instanceof SyntaxError ? error.place || placeOf(error) : null;
  if (place) {
    payload.file = relative(place.file, root);
    payload.line = place.line;
    payload.trace = [frameText({ fn: '', column: 1, ...place }, root, true)];
  } else if (inside) {
    payload.file = relative(inside.file, root);
    payload.line = inside.line;
  } else {
    const imported = / imported from (\/.+)$/.exec(payload.message);
    if (imported) payload.file = relative(imported[1], root);
  }
  return payload;
}

/** The same for the log. */
function logText(described) {
  const lines = [`${described.type}: ${described.message}`];
  for (const text of described.trace) lines.push(...text.split('\n').map((line) => '    ' + line));
  return lines.join('\n') + '\n';
}

module.exports = { LoadFailed, describe, describeLoad, logText };
