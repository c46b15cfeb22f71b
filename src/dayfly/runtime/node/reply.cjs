'use strict';
/*
 * What a handler may return, and how it becomes an answer: the same table as in the Python runtime.
 *
 *   null, undefined                     `null` (http: empty, 204)   application/json
 *   object, array, number, boolean      its JSON                    application/json
 *   string                              its UTF-8                   text/plain; charset=utf-8
 *   Buffer, typed array, ArrayBuffer    as it is                    application/octet-stream
 *   Response (of the Web)               its status, headers and body, which streams
 *   http only: {status or statusCode, headers?, body?}: a response, its body by the rules above
 *   async generator, generator, ReadableStream, Readable: streams, item by item
 *
 * Items of a stream are text, bytes or JSON values (one line each). Under text/event-stream a text or a JSON value becomes one server-sent
 * event; an object with only the keys event, data, id and retry sets those fields.
 */

const { Unencodable, stringify } = require('./strict_json.cjs');

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const BYTES_TYPE = 'application/octet-stream';
const LINES_TYPE = 'application/x-ndjson';
const HEAD_LIMIT = 64 << 10; // bytes of status and headers
const RESPONSE_KEYS = new Set(['status', 'statusCode', 'headers', 'body']);
const EVENT_KEYS = new Set(['event', 'data', 'id', 'retry']);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[^\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]*$/;
const HEADERS = 200; // of one answer

/** The answer breaks the contract; the message tells the author of the function how. */
class Refused extends Error {}

/** {head, body} or {head, items, sse}: `head` is {status?, headers?}, or null if a stream's first item decides. */
function prepare(result, http) {
  if (result === null || result === undefined) {
    return http ? { head: { status: 204 }, body: '' } : { head: {}, body: 'null' };
  }
  if (typeof result !== 'object') {
    if (typeof result === 'string') return { head: typed(TEXT_TYPE), body: result };
    return { head: {}, body: stringify(result) };
  }
  const bytes = asBytes(result);
  if (bytes) return { head: typed(BYTES_TYPE), body: bytes };
  if (isWebResponse(result)) return response(result.status, [...result.headers], result.body);
  const items = asItems(result);
  if (items) return { head: null, items, sse: false };
  if (http && isResponse(result)) return response(result.status ?? result.statusCode, result.headers, result.body);
  return { head: {}, body: stringify(result) };
}

function typed(type) {
  return { headers: [['content-type', type]] };
}

function asBytes(value) {
  if (Buffer.isBuffer(value)) return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  return null;
}

function asItems(value) {
  if (typeof value[Symbol.asyncIterator] === 'function') return value;
  return typeof value.next === 'function' && typeof value[Symbol.iterator] === 'function' ? value : null;
}

function isWebResponse(value) {
  // By its looks: to name the global class would load all of fetch.
  return typeof value.arrayBuffer === 'function' && typeof value.status === 'number' && typeof value.headers?.entries === 'function';
}

function isResponse(value) {
  const keys = Object.keys(value);
  return keys.every((key) => RESPONSE_KEYS.has(key)) && ('statusCode' in value || ('status' in value && keys.length > 1));
}

function response(status, headers, body) {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new Refused(`the response's status is ${String(status).slice(0, 80)}; it must be a whole number from 200 to 599`);
  }
  const head = { status, headers: checked(headers) };
  if (JSON.stringify(head).length > HEAD_LIMIT) {
    throw new Refused(`the response's headers are longer than the ${HEAD_LIMIT} bytes that are allowed`);
  }
  const type = head.headers.find(([name]) => name === 'content-type');
  const sse = type !== undefined && type[1].toLowerCase().startsWith('text/event-stream');
  const bodiless = body === null || body === undefined || status === 204 || status === 205 || status === 304;
  if (bodiless) return { head, sse, body: '' };
  let fallback = JSON_TYPE;
  const answer = { head, sse };
  const object = typeof body === 'object';
  const bytes = object ? asBytes(body) : null;
  const items = object ? asItems(body) : null;
  if (bytes || items) fallback = BYTES_TYPE;
  if (items) answer.items = items;
  else if (bytes) answer.body = bytes;
  else if (typeof body === 'string') [answer.body, fallback] = [body, TEXT_TYPE];
  else answer.body = stringify(body);
  if (!type) head.headers.push(['content-type', fallback]);
  return answer;
}

function checked(headers) {
  if (headers === null || headers === undefined) return [];
  if (typeof headers !== 'object') throw new Refused("the response's headers must be an object or a list of [name, value] pairs");
  const listed = typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
  const pairs = [];
  for (const entry of listed) {
    if (!Array.isArray(entry) || entry.length !== 2) {
      throw new Refused("the response's headers must be an object or a list of [name, value] pairs");
    }
    const [name, values] = entry;
    if (typeof name !== 'string' || !TOKEN.test(name)) {
      throw new Refused(`the response has the header name ${JSON.stringify(String(name).slice(0, 80))}, which HTTP does not allow`);
    }
    for (const given of Array.isArray(values) ? values : [values]) {
      const value = typeof given === 'number' ? String(given) : given;
      if (typeof value !== 'string' || !VALUE.test(value)) {
        const shown = JSON.stringify(String(given).slice(0, 80));
        throw new Refused(`the response's header ${name.slice(0, 80)} has the value ${shown}; it must be one line of latin-1 text`);
      }
      pairs.push([name.toLowerCase(), value]);
    }
  }
  if (pairs.length > HEADERS) throw new Refused(`the response has ${pairs.length} headers; at most ${HEADERS} are allowed`);
  return pairs;
}

/** What follows from the first item of a stream without head: {head, sse, used}; `used` if the item was the head itself. */
function headOf(item, http) {
  if (typeof item === 'object' && item !== null) {
    const isHead = isWebResponse(item) || (http && isResponse(item));
    if (isHead && (item.body === undefined || item.body === null)) {
      const { head, sse } = response(item.status ?? item.statusCode, isWebResponse(item) ? [...item.headers] : item.headers);
      return { head, sse, used: true };
    }
    return { head: typed(asBytes(item) ? BYTES_TYPE : LINES_TYPE), sse: false, used: false };
  }
  const type = typeof item === 'string' ? TEXT_TYPE : item === undefined ? BYTES_TYPE : LINES_TYPE; // undefined: there is none
  return { head: typed(type), sse: false, used: false };
}

/** An item of a stream as bytes. */
function piece(item, sse) {
  const bytes = typeof item === 'object' && item !== null ? asBytes(item) : null;
  if (bytes) return bytes;
  if (sse) return Buffer.from(serverSentEvent(item));
  return Buffer.from(typeof item === 'string' ? item : stringify(item) + '\n');
}

function serverSentEvent(item) {
  const isFields =
    typeof item === 'object' && item !== null && Object.keys(item).length > 0 && Object.keys(item).every((k) => EVENT_KEYS.has(k));
  const fields = isFields ? item : { data: item };
  let text = '';
  for (const name of ['event', 'id', 'retry', 'data']) {
    if (!(name in fields)) continue;
    let value = typeof fields[name] === 'string' ? fields[name] : stringify(fields[name]);
    if (name !== 'data') value = value.split(/\r\n|\r|\n/).join(' ');
    for (const line of value.split(/\r\n|\r|\n/)) text += `${name}: ${line}\n`;
  }
  return text + '\n';
}

module.exports = { Refused, Unencodable, headOf, piece, prepare };
