'use strict';
/*
 * The instance's end of the frame protocol: u32 length, u32 stream, u8 kind (0x80: ends its stream), payload; little-endian.
 * The gateway is trusted; what it sends is not checked again here.
 */

const HEADER = 9;
const CHUNK = 256 << 10; // bytes of a DATA frame that we send
const END = 0x80;
const KIND = { REQUEST: 1, DATA: 2, RESPONSE: 3, ERROR: 4, CANCEL: 5, READY: 6, FAILED: 7, REFUSED: 8, STOP: 9 };
const EMPTY = Buffer.alloc(0);

/** One frame as a Buffer; the payload is text or bytes. */
function encode(kind, stream, payload = EMPTY) {
  const text = typeof payload === 'string';
  const size = text ? Buffer.byteLength(payload) : payload.length;
  const frame = Buffer.allocUnsafe(HEADER + size);
  frame.writeUInt32LE(size, 0);
  frame.writeUInt32LE(stream, 4);
  frame[8] = kind;
  if (text) frame.write(payload, HEADER);
  else frame.set(payload, HEADER);
  return frame;
}

/** A body as frames of at most CHUNK bytes. */
function encodeData(stream, body, end) {
  const last = end ? KIND.DATA | END : KIND.DATA;
  if (body.length <= CHUNK) return [encode(last, stream, body)];
  const parts = [];
  for (let at = 0; at < body.length; at += CHUNK) {
    const final = at + CHUNK >= body.length;
    parts.push(encode(final ? last : KIND.DATA, stream, body.subarray(at, at + CHUNK)));
  }
  return parts;
}

/** Cuts a byte stream into frames: calls `onFrame(kind, end, stream, payload)` for each. */
class Parser {
  constructor(onFrame) {
    this.onFrame = onFrame;
    this.parts = []; // of an unfinished frame
    this.size = 0;
    this.needed = HEADER;
  }

  feed(data) {
    this.parts.push(data);
    this.size += data.length;
    if (this.size < this.needed) return;
    const buffer = this.parts.length === 1 ? data : Buffer.concat(this.parts, this.size);
    let at = 0;
    this.needed = HEADER;
    while (buffer.length - at >= HEADER) {
      const end = at + HEADER + buffer.readUInt32LE(at);
      if (end > buffer.length) {
        this.needed = end - at;
        break;
      }
      const kind = buffer[at + 8];
      this.onFrame(kind & 0x7f, (kind & END) !== 0, buffer.readUInt32LE(at + 4), buffer.subarray(at + HEADER, end));
      at = end;
    }
    const rest = buffer.subarray(at);
    this.parts = rest.length ? [rest] : [];
    this.size = rest.length;
  }
}

module.exports = { CHUNK, EMPTY, END, KIND, Parser, encode, encodeData };
