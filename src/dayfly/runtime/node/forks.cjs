'use strict';
/*
 * The composer's `parallel` and `map` without Redis. What openwhisk-composer makes of a program calls itself for each branch and meets
 * the answers in Redis. Here the calls are taken down instead, and go to the workflow engine with the conductor's answer:
 *
 *     {action: ITSELF, branches: [{...}, ...], state: {$composer: {..., collect: BARRIER}}}
 *
 * which calls them side by side and calls the conductor again, with {branches: [answers]}. The program thinks that it has waited in
 * Redis for too long and waits once more (its `collect`). Source: conductor.js of openwhisk-composer.
 */

const crypto = require('node:crypto');

const COMMANDS = ['lpush', 'lpushx', 'expire', 'brpop', 'lrange', 'del', 'rename'];
const REDIS = { uri: 'dayfly:' };

class Forks {
  #asked = new Map(); // by barrier, the parameters of its branches
  #answered = new Map(); // by barrier, the answers

  /** `module` is the action's; what it requires of these names is this. */
  constructor(module) {
    const others = module.require.bind(module);
    const own = {
      openwhisk: (options) => this.#client(() => others('openwhisk')(options)),
      redis: { createClient: () => ({ on() {}, end() {}, ...this.#commands() }) },
      'redis-commands': { list: COMMANDS },
      uuid: { v4: () => crypto.randomUUID() },
    };
    module.require = (name) => (Object.hasOwn(own, name) ? own[name] : others(name));
  }

  /** The action, with `branches` in its answers and arguments. */
  around(main) {
    return (args) => {
      const composer = { ...args.$composer, redis: REDIS };
      if (composer.collect !== undefined && Array.isArray(args.branches)) {
        this.#answered.set(composer.collect, args.branches);
        return this.#after(main({ value: [], $composer: composer }), composer.collect);
      }
      return this.#after(main({ ...args, $composer: composer }));
    };
  }

  async #after(promised, collected) {
    try {
      const answer = await promised;
      const barrier = answer?.state?.$composer?.collect;
      const branches = this.#asked.get(barrier);
      if (branches === undefined) return answer;
      this.#asked.delete(barrier);
      return { action: process.env.__OW_ACTION_NAME, branches, state: answer.state };
    } finally {
      this.#answered.delete(collected);
    }
  }

  #client(connect) {
    const invoke = (request) => {
      const { join, ...composer } = request?.params?.$composer ?? {};
      if (join === undefined) return connect().actions.invoke(request);
      const branches = this.#asked.get(join.barrierId) ?? [];
      branches[join.position] = { ...request.params, $composer: composer };
      this.#asked.set(join.barrierId, branches);
      return Promise.resolve({ activationId: `branch ${join.position}` });
    };
    const actions = new Proxy({}, { get: (_, name) => (name === 'invoke' ? invoke : connect().actions[name]) });
    return new Proxy({}, { get: (_, name) => (name === 'actions' ? actions : connect()[name]) });
  }

  #commands() {
    return Object.fromEntries(COMMANDS.map((name) => [name, (...args) => this.#redis(name, args)]));
  }

  #redis(name, args) {
    const done = args.pop();
    const answers = this.#answered.get(String(args[0]).split('/').pop());
    if (name === 'brpop') done(null, answers === undefined ? null : ['', '']); // null: waited for too long
    else if (name === 'lrange') done(null, answers.map((params, position) => JSON.stringify({ position, params })));
    else done(null, 1);
  }
}

module.exports = { Forks };
