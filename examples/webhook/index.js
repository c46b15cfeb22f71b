'use strict';
/* Takes webhooks signed as GitHub signs them: X-Hub-Signature-256 is the HMAC of the raw body with a shared secret. */

const { createHmac, timingSafeEqual } = require('node:crypto');

const SECRET = process.env.WEBHOOK_SECRET;
if (!SECRET) throw new Error('WEBHOOK_SECRET is not set');

exports.handler = async (request, context) => {
  if (request.method !== 'POST') return { status: 405, headers: { allow: 'POST' }, body: { error: 'POST only' } };
  const body = request.body;
  if (!signed(body, request.headers.get('x-hub-signature-256'))) {
    return { status: 401, body: { error: 'the signature does not fit' } };
  }
  let event;
  try {
    event = JSON.parse(body.toString());
  } catch {
    return { status: 400, body: { error: 'the signature fits, but the body is not JSON' } };
  }
  const kind = request.headers.get('x-github-event') ?? 'unknown';
  const summary = describe(kind, event);
  console.log(kind, summary);
  return { status: 200, body: { event: kind, summary } };
};

function signed(body, given) {
  const expected = Buffer.from('sha256=' + createHmac('sha256', SECRET).update(body).digest('hex'));
  const actual = Buffer.from(given ?? '');
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function describe(kind, event) {
  const where = event.repository?.full_name ?? 'nowhere';
  if (kind === 'push') return `${event.commits?.length ?? 0} commits to ${event.ref} of ${where} by ${event.pusher?.name}`;
  if (kind === 'issues') return `${event.action} #${event.issue?.number} of ${where}: ${event.issue?.title}`;
  return `something happened to ${where}`;
}
