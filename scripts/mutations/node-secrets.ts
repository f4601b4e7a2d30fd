/** Ways in which the guards of secrets on a node could be lost. */
import { inFile, type Mutation } from './mutation.ts'

export const NODE_SECRETS: readonly Mutation[] = [
  ...inFile('agent/node-client.ts', 'host', 'agent/node-client.test.ts', [
    {
      name: 'who carries a request may answer it',
      search: 'const signed = await this.#accept(received, proof)',
      replace: 'const signed = { answer: received, jti: proof.jti }',
    },
  ]),
  {
    name: 'a session may carry the request of another node',
    file: 'durable-objects/session-requests.ts',
    search: "if (record.id !== node) return err(refusal('E_PROOF_SIGNATURE'))",
    replace: '',
    project: 'gateway',
    test: 'gateway/session-requests.test.ts',
  },
  ...inFile('crypto/delivery.ts', 'host', 'findings/delivery.test.ts', [
    {
      name: 'what was agreed on with a node is kept for ever',
      search: 'now < since + DELIVERY_CONTEXT_MS',
      replace: 'now > 0',
    },
  ]),
  ...inFile('crypto/hpke.ts', 'host', 'findings/delivery.test.ts', [
    {
      name: 'two messages have one number',
      search: 'encodeSequence(this.#next++)',
      replace: 'encodeSequence(this.#next)',
    },
  ]),
  ...inFile('crypto/hpke.ts', 'host', 'both/hpke.test.ts', [
    {
      name: 'the number of a message is no part of its nonce',
      search: '(nonce[left + index] ?? 0) ^ byte',
      replace: 'nonce[left + index] ?? 0',
    },
  ]),
  {
    name: 'what is known of a secret that has changed is tried first by all who ask',
    file: 'durable-objects/session-requests.ts',
    search: 'knownSecrets(this.#options.env).outdate(name)',
    replace: '',
    project: 'gateway',
    test: 'gateway/session-requests.test.ts',
  },
  {
    name: 'who asks joins a look that has begun before',
    file: 'durable-objects/in-groups.ts',
    search: 'const group = this.#waiting.splice(0, this.#most)',
    replace: 'const group = this.#waiting',
    project: 'gateway',
    test: 'gateway/in-groups.test.ts',
  },
  ...inFile('agent/secrets/received.ts', 'host', 'agent/received.test.ts', [
    {
      name: 'another version than the one asked for is taken',
      search: 'if (item === undefined || (version ?? item.version) !== item.version) throw',
      replace: 'if (item === undefined) throw',
    },
    {
      name: 'a sealed value is taken under any name',
      search: 'ageDecrypt(ageIdentityOf(privateKey), file.expose(), name)',
      replace: 'ageDecrypt(ageIdentityOf(privateKey), file.expose())',
    },
  ]),
  ...inFile('agent/secrets/secret-cache.ts', 'host', 'agent/secret-cache.test.ts', [
    {
      name: 'what a node keeps is good for ever',
      search: "if (Math.max(now, newest) - header.at > this.#options.maxAgeMs) return err('expired')",
      replace: '',
    },
    {
      name: 'a clock that was set back is believed',
      search: "if (now + MAX_CLOCK_OFFSET_MS < newest) return err('clock set back')",
      replace: '',
    },
    {
      name: 'the newest time that was seen is not kept',
      search: 'if (now > newest) this.#writeNewest(key, now)',
      replace: '',
    },
    {
      name: 'the newest time that was seen may be edited',
      search: 'return openCached(key, box, this.#newestBinding(newest.at)).ok ? newest.at : undefined',
      replace: 'return openCached === undefined ? undefined : newest.at',
    },
    {
      name: 'what one job may have is kept for every job',
      search: ' && header.workload === (workload ?? null)',
      replace: '',
    },
    {
      name: 'what is kept opens for another node of the same key',
      search: 'const { fleet, node } = this.#options',
      replace: "const { fleet } = this.#options\n    const node = ''",
    },
    {
      name: 'when a secret was fetched may be edited',
      search:
        'String(asked),\n      String(workload),\n      String(version),\n      secretClass,\n      String(at),',
      replace:
        'String(asked),\n      String(workload),\n      String(version),\n      secretClass,\n      String(at > 0),',
    },
  ]),
  ...inFile('agent/secrets/fetch-failure.ts', 'host', 'agent/exec-cache.test.ts', [
    {
      name: 'a denied secret is read from what the node keeps',
      search: "E_SECRET_DENIED: 'denied'",
      replace: "E_SECRET_DENIED: 'gateway away'",
      title: 'E_SECRET_DENIED',
    },
    {
      name: 'what was denied stays on the node',
      search: "if (failure !== 'denied' && failure !== 'absent') return 'nothing'",
      replace: "if (failure !== 'absent') return 'nothing'",
      title: 'E_SECRET_DENIED',
    },
    {
      name: 'a node that was refused keeps its secrets',
      search: "if (failure === 'node refused') return 'everything'",
      replace: '',
      title: 'takes all of it away',
    },
  ]),
  ...inFile('agent/running-agent.ts', 'host', 'agent/exec-cache.test.ts', [
    {
      name: 'what has changed stays on the node',
      search: 'this.#forgetSecrets([frame.name])',
      replace: '',
      title: 'takes away what has changed',
    },
    {
      name: 'a node that is removed keeps its secrets',
      search: "if (outcome === 'removed') this.#forgetSecrets()",
      replace: '',
      title: 'when the node is removed',
    },
  ]),
  ...inFile('agent/secrets/runtime-directory.ts', 'host', 'agent/exec-files.test.ts', [
    {
      name: 'secrets are put on a disk',
      search: 'return IN_MEMORY.includes(statfsSync(path).type)',
      replace: 'return statfsSync(path).type !== 0',
      title: 'is never on a disk',
    },
    {
      name: 'secrets go where others can write',
      search: '(status.mode & WRITABLE_BY_OTHERS) !== 0',
      replace: 'status.mode < 0',
      title: 'nor one that others can write to',
    },
    {
      name: 'secrets that kill -9 left stay',
      search: 'removeOrphans(base)\n',
      replace: '\n',
      title: 'left by kill -9',
    },
    {
      name: 'secrets of a command that runs are taken away',
      search: 'namespace !== pidNamespace() || startTime(Number(pid)) === started',
      replace: 'namespace !== pidNamespace()',
      title: 'left by kill -9',
    },
  ]),
  ...inFile('agent/secrets/secret-pipe.ts', 'host', 'agent/secret-pipe.test.ts', [
    {
      name: 'a pipe can be read once more than it says',
      search: 'this.#left = maxReads',
      replace: 'this.#left = maxReads + 1',
      title: 'after the last there is no pipe',
    },
  ]),
  ...inFile('agent/secrets/output-mask.ts', 'host', 'agent/output-mask.test.ts', [
    {
      name: 'a secret that comes in pieces is shown',
      search: 'begin + chunk.length - this.#matcher.pending(this.#state)',
      replace: 'begin + chunk.length',
    },
    {
      name: 'of secrets that overlap a part is shown',
      search: 'from = Math.min(from, last.start)',
      replace: '',
    },
  ]),
  ...inFile('agent/secrets/secret-forms.ts', 'host', 'agent/output-mask.test.ts', [
    {
      name: 'a secret in base64 is shown if something is before it',
      search: 'const standard = [0, 1, 2].flatMap(',
      replace: 'const standard = [0].flatMap(',
    },
  ]),
  ...inFile('agent/supervised-command.ts', 'host', 'agent/exec-rotation.test.ts', [
    {
      name: 'a command that was told to end is started anew',
      search: 'if (this.#next === undefined || this.#ending) return ending',
      replace: 'if (this.#next === undefined) return ending',
      title: 'one that is told to end while it is started anew',
    },
  ]),
  ...inFile('agent/commands/render.ts', 'host', 'agent/render.test.ts', [
    {
      name: 'others may write what is rendered',
      search: '(mode & 0o022) !== 0',
      replace: 'mode < 0',
      title: 'never others to write',
    },
  ]),
]
