'use strict';
/*
 * How user code is called, by the name of the contract. A contract is an object of
 *
 *     environment(work) -> variables       all that user code finds in its environment
 *     load(work) -> handler                throws what user code throws, or LoadFailed
 *     context(work, head)                  the handler's second argument
 *     invoke(handler, input, context)      what the handler answers, or a promise of it
 *     prepare(result, http)                see reply.cjs
 *     describe(error, work, head)          what is sent of what was thrown: type, message, trace ...
 *     describeLoad(error, work)            the same of what was thrown while loading
 *     logText(described, head)             the same for the log
 *
 * and, if it needs them, open(work) before the code is loaded, started() after it (seconds to end in order), stop() when it is to end, fatal(error,
 * origin) of an error that nobody caught ({described, status}: then the process ends), and `hold`, set to a function that says whether the
 * gateway's connection keeps the event loop alive.
 */

const { Context } = require('./call.cjs');
const { describe, describeLoad, logText } = require('./errors.cjs');
const { isEsm, load, searchIn } = require('./load.cjs');
const { prepare } = require('./reply.cjs');

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const dayfly = {
  environment(work) {
    const tmp = work.tmp || '/tmp';
    return {
      PATH,
      HOME: tmp,
      TMPDIR: tmp,
      LANG: 'C.UTF-8',
      TZ: 'UTC',
      DAYFLY_FUNCTION: String(work.function),
      DAYFLY_NAMESPACE: String(work.namespace),
      DAYFLY_REVISION: String(work.revision),
      DAYFLY_MEMORY_MB: String(work.memory_mb),
      DAYFLY_INSTANCE: String(work.id),
      ...work.env,
    };
  },
  load,
  context: (work, head) => new Context(work, head),
  invoke: (handler, input, context) => handler(input, context),
  prepare,
  describe: (error, work) => describe(error, work.task_root),
  describeLoad: (error, work) => describeLoad(error, work.task_root),
  logText,
};

/** The contract of that name; null if there is none. Others than our own are loaded where they are wanted. */
function contract(name) {
  if (name === 'dayfly') return dayfly;
  if (name === 'whisk') return { ...dayfly, load: (work) => require('./whisk.cjs').load(work, { isEsm, load, searchIn }) };
  return name === 'lambda' ? require('./awslambda.cjs') : null;
}

module.exports = { NAMES: ['dayfly', 'lambda', 'whisk'], contract };
