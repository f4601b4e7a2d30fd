/** Guards of the mesh policy: who hears of whom, that it is taken back at once, and that nobody is told twice. */
import { type Edit, type Mutation, mutate, type Noticing } from './mutation.ts'

const RULES = ['host', 'unit/mesh-policy.test.ts'] as const
const MODEL = ['gateway', 'gateway/mesh-model.test.ts'] as const
const POLICY = ['gateway', 'gateway/mesh-policy.test.ts'] as const

const of = (name: string, edit: Edit, test: Noticing): Mutation => mutate(`mesh policy: ${name}`, edit, test)

export const MESH_POLICY: readonly Mutation[] = [
  of(
    '* reaches networks behind nodes',
    [
      'protocol/mesh-policy-explain.ts',
      'return network !== undefined && isWithin(to.network, network)',
      'return true',
    ],
    RULES,
  ),
  of(
    'a receiver lets in what is for networks behind it',
    ['protocol/mesh-policy-compile.ts', '...(to.length > 0 && { to: [...to] }),', ''],
    RULES,
  ),
  of(
    'who may only receive is not heard of',
    ['protocol/mesh-policy-compile.ts', 'if (to.has(audience)) for (const id of from) seen.add(id)', ''],
    RULES,
  ),
  of(
    'a wider policy covers what it does not',
    ['protocol/port-set.ts', 'if (inner.any || (inner.icmp && !outer.icmp)) return false', ''],
    RULES,
  ),
  of(
    'a test of a tag leaves out the nodes that have it',
    ['protocol/mesh-policy-explain.ts', '...this.#where(({ tags }) => tags.includes(selector.tag)),', ''],
    RULES,
  ),
  of(
    'a peer that went out of sight stays in the map',
    [
      'durable-objects/mesh-log.ts',
      'return saw(row.was) ? [{ seq: row.seq, peer: row.id }] : []',
      'return []',
    ],
    MODEL,
  ),
  of(
    'another policy takes nobody out of sight',
    ['durable-objects/mesh-log.ts', 'if (!isSame) entries.push(', 'if (audience < 0) entries.push('],
    MODEL,
  ),
  of(
    'new rules are not told to whom sees the same',
    [
      'durable-objects/mesh-places.ts',
      'if (!sameRules(before.rulesOf(audience), now.rulesOf(audience))) return true',
      '',
    ],
    MODEL,
  ),
  of(
    'a node that was away is taken for one of its new class',
    [
      'durable-objects/mesh-log.ts',
      'audience: this.#classAt(id, seq) ?? now.audience',
      'audience: now.audience',
    ],
    MODEL,
  ),
  of(
    'a node that came from another class is placed before its own entry',
    [
      'durable-objects/mesh-log.ts',
      'const to = was === audience ? Math.max(from, newest) : this.#head',
      'const to = Math.max(from, newest)',
    ],
    MODEL,
  ),
  of(
    'a class begins before its first node comes',
    [
      'durable-objects/fleet-mesh.ts',
      'row === undefined || !isMember(row)) return',
      'row === undefined || row.removed_at !== null) return',
    ],
    MODEL,
  ),
  of(
    'a class has a place before its beginning',
    [
      'durable-objects/mesh-places.ts',
      'Math.max(this.#known.get(audience) ?? head, this.#classes.beginningOf(audience))',
      'this.#known.get(audience) ?? head',
    ],
    MODEL,
  ),
  of(
    'a move is forgotten when a shard did not answer',
    [
      'durable-objects/mesh-fanout.ts',
      'for (const [audience, at] of before) delivered.set(audience, at)\n      for (const move of moves) this.#restore(shard, move)',
      'for (const [audience, at] of before) delivered.set(audience, at)',
    ],
    ['gateway', 'gateway/fanout.test.ts'],
  ),
  of(
    'a move is not kept for the sweep',
    [
      'durable-objects/fleet-mesh.ts',
      '    this.#takeUpMoves()\n    await this.#fanout.flush()',
      '    await this.#fanout.flush()',
    ],
    POLICY,
  ),
  of(
    'a tag that is taken away waits for the window',
    ['durable-objects/fleet-mesh.ts', '{ urgent: urgent || moved }', '{ urgent }'],
    POLICY,
  ),
  of(
    'signals go to anyone',
    [
      'durable-objects/mesh-delivery.ts',
      'return sees === null || (from !== undefined && sees.has(from))',
      'return true',
    ],
    POLICY,
  ),
  of(
    'a policy is set over another that came in between',
    ['durable-objects/fleet-policy.ts', 'if (cas !== policies.newest)', 'if (cas < 0)'],
    POLICY,
  ),
  of(
    'a document need not pass its tests',
    ['durable-objects/fleet-policy.ts', ', ...runPolicyTests(read.value, bound, nodes)]', ']'],
    POLICY,
  ),
  of(
    'operators set it',
    ['worker/routes/mesh-policy.ts', ".put('/', requireRole('admin'),", ".put('/', requireRole('operator'),"],
    ['gateway', 'gateway/roles.test.ts', 'PUT /v1/mesh/policy'],
  ),
]
