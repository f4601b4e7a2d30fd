import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NodeId, NodeName, Tags } from '../../protocol/ids.ts'
import {
  mayPersonRead,
  mayRead,
  mightRead,
  type Reader,
  type StoredPolicy,
  type StoredRule,
  WorkloadName,
} from '../../protocol/secret-policy.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const BEFORE = '2026-05-31T23:59:59.999Z'
const AFTER = '2026-06-01T00:00:00.001Z'

const id = (letter: string): NodeId => NodeId.parse(letter.repeat(26))
const rule = (part: Partial<StoredRule>): StoredRule => ({
  effect: 'allow',
  nodes: [],
  tags: [],
  workloads: [],
  roles: [],
  expires: null,
  ...part,
})
const policy = (...rules: StoredRule[]): StoredPolicy => ({ rules, expires: null })
const node = (letter: string) => ({ id: id(letter), name: NodeName.parse(`node-${letter}`) })
const reader = (letter: string, tags: string[] = [], workload?: string): Reader => ({
  id: id(letter),
  tags: Tags.parse(tags),
  workload: workload === undefined ? undefined : WorkloadName.parse(workload),
})
const codeOf = (rules: StoredPolicy, who: Reader): string | undefined => {
  const verdict = mayRead(rules, who, NOW)
  return verdict.allowed ? undefined : verdict.code
}
const workloads = (...names: string[]) => names.map((name) => WorkloadName.parse(name))

describe('who may read', () => {
  it('is nobody without a rule', () => {
    expect(codeOf(policy(), reader('a'))).toBe('E_SECRET_DENIED')
    expect(codeOf(policy(rule({})), reader('a'))).toBe('E_SECRET_DENIED')
  })

  it('says what was missing: the node, its tags, its workload, or time', () => {
    expect(codeOf(policy(rule({ nodes: [node('b')] })), reader('a'))).toBe('E_SECRET_DENIED')
    expect(codeOf(policy(rule({ tags: Tags.parse(['gpu']) })), reader('a', ['cpu']))).toBe('E_SECRET_TAG')
    const jobs = rule({ nodes: [node('a')], workloads: workloads('train') })
    expect(codeOf(policy(jobs), reader('a'))).toBe('E_SECRET_WORKLOAD')
    expect(codeOf(policy(jobs), reader('a', [], 'serve'))).toBe('E_SECRET_WORKLOAD')
    expect(codeOf(policy(jobs), reader('a', [], 'train'))).toBeUndefined()
    expect(codeOf(policy(jobs), reader('b', [], 'train'))).toBe('E_SECRET_DENIED')
    const over = rule({ nodes: [node('a')], expires: BEFORE })
    expect(codeOf(policy(over), reader('a'))).toBe('E_SECRET_POLICY_EXPIRED')
    expect(codeOf({ ...policy(rule({ nodes: [node('a')] })), expires: BEFORE }, reader('a'))).toBe(
      'E_SECRET_POLICY_EXPIRED',
    )
    expect(
      codeOf({ ...policy(rule({ nodes: [node('a')], expires: AFTER })), expires: AFTER }, reader('a')),
    ).toBe(undefined)
  })

  it('is decided against the reader by any rule that denies, wherever it stands', () => {
    const allow = rule({ tags: Tags.parse(['gpu']) })
    const deny = rule({ effect: 'deny', nodes: [node('a')] })
    for (const rules of [policy(allow, deny), policy(deny, allow)]) {
      expect(codeOf(rules, reader('a', ['gpu']))).toBe('E_SECRET_DENY_RULE')
      expect(codeOf(rules, reader('b', ['gpu']))).toBeUndefined()
    }
    expect(codeOf(policy(allow, { ...deny, expires: BEFORE }), reader('a', ['gpu']))).toBeUndefined()
  })

  it('does not lock administrators out, and lets other people in only by their role', () => {
    const over: StoredPolicy = { ...policy(rule({ roles: ['operator'] })), expires: BEFORE }
    expect(mayPersonRead(over, 'admin', NOW)).toMatchObject({
      allowed: true,
      reason: 'administrator, though the policy expired',
    })
    expect(mayPersonRead(over, 'operator', NOW)).toMatchObject({ code: 'E_SECRET_POLICY_EXPIRED' })
    expect(mayPersonRead({ ...over, expires: null }, 'operator', NOW).allowed).toBe(true)
    expect(mayPersonRead({ ...over, expires: null }, 'viewer', NOW)).toMatchObject({ code: 'E_ROLE_DENIED' })
    const denied = policy(rule({ roles: ['operator'] }), rule({ effect: 'deny', roles: ['operator'] }))
    expect(mayPersonRead(denied, 'operator', NOW)).toMatchObject({ code: 'E_SECRET_DENY_RULE' })
    expect(mayPersonRead(denied, 'admin', NOW).allowed).toBe(true)
  })
})

const letters = fc.constantFrom('a', 'b', 'c')
const tags = fc.uniqueArray(fc.constantFrom('t', 'u', 'v'), { maxLength: 3 })
const jobs = fc.uniqueArray(fc.constantFrom('w', 'x'), { maxLength: 2 })
const rules = fc.array(
  fc.record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    nodes: fc.uniqueArray(letters, { maxLength: 2 }),
    tags,
    workloads: jobs,
    expires: fc.constantFrom(null, BEFORE, AFTER),
  }),
  { maxLength: 5 },
)

describe('the policy, against a naive model', () => {
  it('allows what some rule in force allows and none in force denies', () => {
    fc.assert(
      fc.property(
        rules,
        letters,
        tags,
        fc.option(fc.constantFrom('w', 'x', 'y'), { nil: undefined }),
        (drawn, letter, has, job) => {
          const stored = policy(
            ...drawn.map((one) =>
              rule({
                ...one,
                nodes: one.nodes.map(node),
                tags: Tags.parse(one.tags),
                workloads: workloads(...one.workloads),
              }),
            ),
          )
          const speaksOf = drawn
            .filter(({ expires }) => expires !== BEFORE)
            .filter((one) => {
              const named = one.nodes.length > 0 || one.tags.length > 0
              const node = one.nodes.includes(letter) || one.tags.some((tag) => has.includes(tag))
              const work = one.workloads.length === 0 || one.workloads.includes((job ?? '') as 'w')
              return named ? node && work : one.workloads.length > 0 && work
            })
          const expected =
            speaksOf.some(({ effect }) => effect === 'allow') &&
            !speaksOf.some(({ effect }) => effect === 'deny')
          const who = reader(letter, has, job)
          expect(mayRead(stored, who, NOW).allowed).toBe(expected)
          const any = [undefined, 'w', 'x', 'y'].some(
            (one) => mayRead(stored, reader(letter, has, one), NOW).allowed,
          )
          expect(mightRead(stored, NOW)(who)).toBe(any)
          expect(mightRead({ ...stored, expires: BEFORE }, NOW)(who)).toBe(false)
        },
      ),
      { numRuns: 20_000 },
    )
  })
})

it('asks ten thousand nodes of a policy as large as one can be, and is done', () => {
  const jobs = (rule: number) => workloads(...Array.from({ length: 1000 }, (_, job) => `job-${rule}-${job}`))
  const everyJob = Array.from({ length: 64 }, (_, index) =>
    rule({ effect: index % 2 === 0 ? 'allow' : 'deny', workloads: jobs(index - (index % 2)) }),
  )
  // Each job that a rule allows another denies: no answer is found early.
  const might = mightRead(policy(...everyJob), NOW)
  for (let asked = 0; asked < 10_000; asked++) expect(might(reader('a'))).toBe(false)
})
