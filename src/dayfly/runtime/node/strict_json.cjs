'use strict';
/*
 * JSON.stringify is lenient: it writes NaN as null, and drops functions, maps and sets. What a caller would silently miss is refused here,
 * with its place. A property that is undefined is left out, as everybody expects in JavaScript.
 */

class Unencodable extends Error {}

/** Encode, or throw Unencodable. */
function stringify(value) {
  let text;
  try {
    text = JSON.stringify(value);
    if (fits(value)) return text === undefined ? 'null' : text;
  } catch (error) {
    const reason = error instanceof RangeError ? 'it is nested too deeply' : error.message;
    throw new Unencodable(explain(value, 'result', []) || `result cannot be JSON: ${reason}`);
  }
  throw new Unencodable(explain(value, 'result', []));
}

function wrong(value) {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? '' : `${value}, which JSON cannot hold; use null or text`;
    case 'bigint':
    case 'function':
    case 'symbol':
      return `a ${typeof value}, which JSON cannot hold`;
    case 'object':
      if (value instanceof Map || value instanceof Set || value instanceof Promise) {
        return `a ${value.constructor.name}, which JSON cannot hold; return objects, arrays, text, numbers, booleans or null`;
      }
  }
  return '';
}

function isContainer(value) {
  return typeof value === 'object' && value !== null && typeof value.toJSON !== 'function';
}

/** Whether all of a value without cycles is JSON. */
function fits(value) {
  if (typeof value === 'string') return true;
  if (wrong(value)) return false;
  if (!isContainer(value)) return true;
  for (const item of Array.isArray(value) ? value : Object.values(value)) {
    if (!fits(item)) return false;
  }
  return true;
}

/** Where the first thing that JSON cannot hold stands; empty if there is none. */
function explain(value, path, above) {
  const problem = wrong(value);
  if (problem) return `${path} is ${problem}`;
  if (!isContainer(value)) return '';
  if (above.includes(value)) return `${path} contains itself; JSON cannot hold a cycle`;
  if (above.length >= 200) return `${path.slice(0, 200)}... is nested too deeply for JSON`;
  const inside = [...above, value];
  for (const key of Object.keys(value)) {
    const found = explain(value[key], step(path, key, Array.isArray(value)), inside);
    if (found) return found;
  }
  return '';
}

function step(path, key, index) {
  if (index) return `${path}[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key.slice(0, 80)}` : `${path}[${JSON.stringify(key.slice(0, 80))}]`;
}

module.exports = { Unencodable, stringify };
