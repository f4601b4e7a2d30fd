/** The mesh policy against a model that goes through its rules one by one, for every pair of nodes and port. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Cidr, NodeId, NodeName, Tags } from '../../protocol/ids.ts'
import { MAX_MESH_RULES } from '../../protocol/limits.ts'
import { MeshRule } from '../../protocol/mesh.ts'
import { policyChanges } from '../../protocol/mesh-policy-changes.ts'
import { bindPolicy, compilePolicy, type Membership } from '../../protocol/mesh-policy-compile.ts'
import {
  allowedPorts,
  allowingRule,
  type NamedNode,
  runPolicyTests,
} from '../../protocol/mesh-policy-explain.ts'
import { readPolicy } from '../../protocol/mesh-policy-read.ts'
import { includes, type PortQuery, portTexts } from '../../protocol/port-set.ts'

const NAMES = ['a', 'b', 'c', 'd'] as const
const TAGS = ['x', 'y', 'zone:1'] as const
const GROUPS = ['g', 'h'] as const
const NETWORKS = ['10.1.0.0/16', '10.1.2.0/24', '10.1.2.128/25', '192.168.0.0/24', 'fd00:1::/64'] as const
const PORTS = [1, 22, 53, 80, 443, 8000, 65_535] as const
const QUERIES: readonly PortQuery[] = [
  ...PORTS.flatMap((port) => [{ proto: 'tcp', port } as const, { proto: 'udp', port } as const]),
  { proto: 'icmp' },
]

const idOf = (name: string): NodeId => NodeId.parse(name.repeat(26))
const node = (name: string, tags: readonly string[] = [], routes: readonly string[] = []): NamedNode => ({
  id: idOf(name),
  name: NodeName.parse(name),
  tags: Tags.parse(tags),
  routes: routes.map((route) => Cidr.parse(route)),
})

function bound(document: unknown) {
  const read = readPolicy(document)
  if (!read.ok) throw new Error(JSON.stringify(read.error))
  const ids = new Map([...read.value.nodes.keys()].map((name) => [name, idOf(name)]))
  return { read: read.value, policy: bindPolicy(read.value, ids) }
}

const problemsOf = (document: unknown) => {
  const read = readPolicy(document)
  return read.ok ? [] : read.error.map(({ at, kind }) => `${at} ${kind}`)
}

describe('a document', () => {
  test('has all its problems named at once, each with its place', () => {
    expect(
      problemsOf({
        groups: { 'No Name': ['tag:x'], ok: ['group:other', 'tag:Not A Tag', '*'] },
        rules: [
          {
            src: ['tags:x', 'group:missing', 'node:UP'],
            dst: ['tag:x:22', '*:22-21', 'tag:x', '10.1.0.1/16:22'],
          },
          { src: ['*'], dst: ['*:22'], proto: 'icmp' },
          { src: ['*'], dst: ['*:0', '*:65536', '*:1,,2', ':22', '0.0.0.0/0:1', 'group:gone:*'] },
        ],
        tests: [
          { from: 'a', to: 'node:b', accept: ['22', 'tcp:0', 'icmp'] },
          { from: '*', to: '*' },
        ],
      }),
    ).toEqual([
      'groups["No Name"] group',
      'groups.ok[0] selector',
      'groups.ok[1] selector',
      'groups.ok[2] selector',
      'rules[0].src[0] selector',
      'rules[0].src[1] group',
      'rules[0].src[2] selector',
      'rules[0].dst[1] ports',
      'rules[0].dst[2] ports',
      'rules[0].dst[3] selector',
      'rules[1].dst[0] ports',
      'rules[2].dst[0] ports',
      'rules[2].dst[1] ports',
      'rules[2].dst[2] ports',
      'rules[2].dst[3] ports',
      'rules[2].dst[4] selector',
      'rules[2].dst[5] group',
      'tests[0].from selector',
      'tests[0].accept[0] ports',
      'tests[0].accept[1] ports',
      'tests[1] form',
    ])
  })

  test.each([
    [null, ['policy form']],
    [{}, ['rules form']],
    [
      { rules: [{ src: [], dst: ['*:*'], ports: 1, '<b>': 2 }], more: 1 },
      ['rules[0].src form', 'rules[0].ports form', 'rules[0]["<b>"] form', 'more form'],
    ],
    [{ rules: [{ src: ['*'], dst: ['*:*'], proto: 'sctp' }] }, ['rules[0].proto form']],
    [
      { rules: Array.from({ length: 200 }, () => ({ src: ['*'], dst: ['*:1', '*:2', '*:3'] })) },
      ['rules limit'],
    ],
    [{ rules: Array.from({ length: 300 }, () => ({ src: ['*'], dst: ['*:1'] })) }, ['rules form']],
  ])('%j is none', (document, problems) => {
    expect(problemsOf(document)).toEqual(problems)
  })

  test.each([
    ['tag:zone:eu:22', 'tag:zone:eu', undefined, ['tcp:22', 'udp:22']],
    ['tag:zone:22:*', 'tag:zone:22', undefined, ['any']],
    ['node:b:22,8000-8010,8011,23', 'node:b', 'tcp', ['tcp:22-23,8000-8011']],
    ['*:1-65535', '*', 'udp', ['udp']],
    ['group:g:*', 'group:g', 'icmp', ['icmp']],
    ['*:*', '*', 'tcp', ['tcp']],
    ['10.1.0.0/16:443', 'net:10.1.0.0/16', 'tcp', ['tcp:443']],
    ['fd00:1::/64:*', 'net:fd00:1::/64', 'any', ['any']],
  ])('%s is %s, with proto %s', (dst, key, proto, ports) => {
    const { policy } = bound({
      groups: { g: [] },
      rules: [{ src: ['*'], dst: [dst], ...(proto && { proto }) }],
    })
    const [destination] = policy.rules[0]?.dst ?? []
    expect(destination?.key).toBe(key === 'node:b' ? `node:${idOf('b')}` : key)
    expect(destination && portTexts(destination.ports)).toEqual(ports)
  })
})

/** As it is generated: what the model reads, and from which the document's text is made. */
type Who = { kind: 'all' } | { kind: 'tag' | 'group' | 'node'; name: string }
type To = Who | { kind: 'net'; name: string }
interface ModelRule {
  src: Who[]
  dst: { to: To; ranges: [number, number][] | undefined }[]
  proto: 'tcp' | 'udp' | 'icmp' | 'any' | undefined
}
interface Model {
  groups: Record<string, Who[]>
  rules: ModelRule[]
}

const named = <K extends string>(kind: K, names: readonly string[]) =>
  fc.constantFrom(...names).map((name) => ({ kind, name }))
const member = fc.oneof(named('tag', TAGS), named('node', NAMES))
const who = fc.oneof(fc.constant({ kind: 'all' as const }), member, named('group', GROUPS))
const range = fc
  .tuple(fc.constantFrom(...PORTS), fc.constantFrom(...PORTS))
  .map(([a, b]): [number, number] => [Math.min(a, b), Math.max(a, b)])
const rule = fc
  .record({
    src: fc.array(who, { minLength: 1, maxLength: 3 }),
    dst: fc.array(
      fc.record({
        to: fc.oneof(who, named('net', NETWORKS)),
        ranges: fc.option(fc.array(range, { minLength: 1, maxLength: 3 }), { nil: undefined }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    proto: fc.constantFrom('tcp', 'udp', 'icmp', 'any', undefined),
  })
  .map(
    ({ src, dst, proto }): ModelRule => ({
      src,
      dst: dst.map((one) => (proto === 'icmp' || proto === 'any' ? { ...one, ranges: undefined } : one)),
      proto,
    }),
  )
const model: fc.Arbitrary<Model> = fc.record({
  groups: fc.record({ g: fc.array(member, { maxLength: 3 }), h: fc.array(member, { maxLength: 3 }) }),
  rules: fc.array(rule, { maxLength: 6 }),
})
const fleet = fc.tuple(
  ...NAMES.map((name) =>
    fc
      .tuple(fc.subarray([...TAGS]), fc.subarray([...NETWORKS], { maxLength: 2 }))
      .map(([tags, routes]) => node(name, tags, routes)),
  ),
)

const word = (one: To): string =>
  one.kind === 'all' ? '*' : one.kind === 'net' ? one.name : `${one.kind}:${one.name}`
const documentOf = ({ groups, rules }: Model) => ({
  groups: Object.fromEntries(Object.entries(groups).map(([name, members]) => [name, members.map(word)])),
  rules: rules.map(({ src, dst, proto }) => ({
    src: src.map(word),
    dst: dst.map(({ to, ranges }) => `${word(to)}:${ranges?.map(([a, b]) => `${a}-${b}`).join(',') ?? '*'}`),
    ...(proto !== undefined && { proto }),
  })),
})

const isOne = (groups: Model['groups'], one: To, of: NamedNode): boolean => {
  switch (one.kind) {
    case 'all':
      return true
    case 'tag':
      return of.tags.some((tag) => tag === one.name)
    case 'node':
      return of.name === one.name
    case 'group':
      return (groups[one.name] ?? []).some((other) => isOne(groups, other, of))
    default:
      return false
  }
}

const numberOf = (address: string): number =>
  address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
/** By numbers, where the code compares bits; of IPv6 there is only one. */
function within(outer: string, inner: string): boolean {
  if (outer.includes(':') || inner.includes(':')) return outer === inner
  const [[from = '', length], [of = '', innerLength]] = [outer.split('/'), inner.split('/')]
  const size = 2 ** (32 - Number(length))
  return (
    Number(innerLength) >= Number(length) &&
    Math.floor(numberOf(from) / size) === Math.floor(numberOf(of) / size)
  )
}

const allows = (
  proto: ModelRule['proto'],
  ranges: [number, number][] | undefined,
  query: PortQuery,
): boolean => {
  if (query.proto === 'icmp')
    return proto === 'icmp' || proto === 'any' || (proto === undefined && ranges === undefined)
  const isProto = proto === undefined || proto === 'any' || proto === query.proto
  return isProto && (ranges === undefined || ranges.some(([a, b]) => a <= query.port && query.port <= b))
}

/** @param network where it goes behind the node; undefined for the node itself. */
const naive = (
  { groups, rules }: Model,
  from: NamedNode,
  to: NamedNode,
  network: string | undefined,
  query: PortQuery,
): boolean =>
  rules.some(
    ({ src, dst, proto }) =>
      src.some((one) => isOne(groups, one, from)) &&
      dst.some(
        (one) =>
          allows(proto, one.ranges, query) &&
          (network === undefined
            ? one.to.kind !== 'net' && isOne(groups, one.to, to)
            : one.to.kind === 'net' && within(one.to.name, network)),
      ),
  )

const overlaps = (a: string, b: string): boolean => within(a, b) || within(b, a)
/** A rule that says anything about the two, whatever the port. */
const speaksOf = ({ groups, rules }: Model, from: NamedNode, to: NamedNode): boolean =>
  rules.some(
    ({ src, dst }) =>
      src.some((one) => isOne(groups, one, from)) &&
      dst.some(({ to: one }) =>
        one.kind === 'net' ? to.routes.some((route) => overlaps(route, one.name)) : isOne(groups, one, to),
      ),
  )

function classesOf(memberships: readonly Membership[]) {
  const texts = memberships.map((membership) => [...membership].join(' '))
  const ids = [...new Set(texts)]
  const classes = new Map(ids.map((text, id) => [id, new Set(text === '' ? [] : text.split(' '))]))
  return { classes, classOf: (index: number) => ids.indexOf(texts[index] ?? '') }
}

const letsIn = (
  rules: readonly MeshRule[],
  from: number,
  network: string | undefined,
  query: PortQuery,
): boolean =>
  rules.some(
    ({ from: classes, to, allow }) =>
      classes.includes(from) &&
      (network === undefined ? to === undefined : to?.some((one) => within(one, network)) === true) &&
      allow.some(
        ({ proto, ports }) =>
          (proto === 'any' || proto === query.proto) &&
          (ports === undefined ||
            (query.proto !== 'icmp' && ports.some(([a, b]) => a <= query.port && query.port <= b))),
      ),
  )

describe('a compiled policy', () => {
  test('allows what its rules allow one by one, for every pair, port and network', () => {
    fc.assert(
      fc.property(model, fleet, (said, nodes) => {
        const { policy } = bound(documentOf(said))
        const memberships = nodes.map((one) => policy.membershipOf(one))
        const { classes, classOf } = classesOf(memberships)
        const compiled = compilePolicy(policy, classes)
        nodes.forEach((to, j) => {
          const rules = compiled.rulesOf(classOf(j))
          expect(rules.length).toBeLessThanOrEqual(MAX_MESH_RULES)
          for (const one of rules) MeshRule.parse(one)
          nodes.forEach((from, i) => {
            const hears = compiled.sees(classOf(j)).has(classOf(i))
            expect(hears).toBe(speaksOf(said, from, to) || speaksOf(said, to, from))
            expect(hears).toBe(compiled.sees(classOf(i)).has(classOf(j)))
            for (const query of QUERIES) {
              const wanted = naive(said, from, to, undefined, query)
              expect(letsIn(rules, classOf(i), undefined, query)).toBe(wanted)
              const place = { node: memberships[j] ?? new Set<string>() }
              const source = memberships[i] ?? new Set<string>()
              expect(allowingRule(policy, source, place, query) !== undefined).toBe(wanted)
              expect(includes(allowedPorts(policy, source, place), query)).toBe(wanted)
              for (const network of to.routes)
                expect(letsIn(rules, classOf(i), network, query)).toBe(naive(said, from, to, network, query))
            }
          })
        })
      }),
      { numRuns: 300 },
    )
  })

  test('tells only those nodes apart of which the rules say something different', () => {
    const { policy } = bound({
      groups: { many: ['tag:x', 'node:a', 'node:b'] },
      rules: [{ src: ['group:many'], dst: ['tag:y:22'] }],
      tests: [{ from: 'tag:unsaid', to: 'tag:y', deny: ['tcp:22'] }],
    })
    const texts = [node('a'), node('b'), node('c', ['x']), node('d', ['unsaid'])].map((one) => [
      ...policy.membershipOf(one),
    ])
    expect(texts).toEqual([['group:many'], ['group:many'], ['group:many'], []])
  })

  test('says the same in few rules, senders and ports together', () => {
    const { policy } = bound({
      rules: [
        { src: ['tag:x'], dst: ['*:22'], proto: 'tcp' },
        { src: ['tag:y'], dst: ['*:22', '*:80'], proto: 'tcp' },
        { src: ['tag:x'], dst: ['*:80'], proto: 'tcp' },
        { src: ['tag:x', 'tag:y'], dst: ['10.1.0.0/16:22', '192.168.0.0/24:22'], proto: 'tcp' },
      ],
    })
    const router = policy.membershipOf(node('a', [], ['10.1.0.0/16', '192.168.0.0/24']))
    const compiled = compilePolicy(
      policy,
      new Map([
        [0, router],
        [1, new Set(['tag:x'])],
        [2, new Set(['tag:y'])],
      ]),
    )
    const allow = (...ports: [number, number][]) => [{ proto: 'tcp', ports }]
    expect(compiled.rulesOf(0)).toEqual([
      { from: [1, 2], allow: allow([22, 22], [80, 80]) },
      { from: [1, 2], to: ['10.1.0.0/16', '192.168.0.0/24'], allow: allow([22, 22]) },
    ])
  })
})

describe('the tests of a document', () => {
  const rules = [
    { src: ['tag:x'], dst: ['tag:y:22'], proto: 'tcp' },
    { src: ['node:a'], dst: ['*:*'] },
  ]
  const failuresOf = (tests: object[], nodes: NamedNode[]) => {
    const { read, policy } = bound({ rules, tests })
    return runPolicyTests(read, policy, nodes).map(({ at, message }) => `${at} ${message}`)
  }

  test('hold for whom they name, whether or not there is a node of that tag', () => {
    const accept = ['tcp:22']
    expect(failuresOf([{ from: 'tag:x', to: 'tag:y', accept, deny: ['udp:22', 'icmp'] }], [])).toEqual([])
    expect(failuresOf([{ from: 'tag:y', to: 'tag:x', accept }], [])).toEqual([
      'tests[0].accept[0] no rule allows a node with the tag y alone to reach a node with the tag x alone at tcp:22',
    ])
  })

  test('fail for a node of which something else than its tag is true', () => {
    const test_ = { from: 'tag:y', to: 'tag:y', deny: ['tcp:80'] }
    expect(failuresOf([test_], [node('b', ['y'])])).toEqual([])
    expect(failuresOf([test_], [node('a', ['y']), node('b', ['y'])])).toEqual([
      'tests[0].deny[0] rules[1] allows node a to reach node b at tcp:80',
    ])
  })

  test('reach networks only where they are named', () => {
    expect(failuresOf([{ from: 'node:a', to: '10.1.0.0/16', accept: ['tcp:22'] }], [node('a')])).toHaveLength(
      1,
    )
  })
})

describe('what another policy changes', () => {
  const allowAll = bound({ rules: [{ src: ['*'], dst: ['*:*'] }] }).policy
  const ssh = bound({ rules: [{ src: ['tag:x'], dst: ['*:22'], proto: 'tcp' }] }).policy
  const nodes = [node('a', ['x']), node('b'), node('c')]

  test('is counted by pairs, and told by kinds of nodes', () => {
    const changes = policyChanges(undefined, ssh, nodes)
    expect(changes).toMatchObject({ losing: 6, cutOff: 4, gaining: 0 })
    expect(changes?.told).toContainEqual({
      from: { names: ['a'], more: 0 },
      to: { names: ['b', 'c'], more: 0 },
      pairs: 2,
      before: ['any'],
      after: ['tcp:22'],
      loses: true,
      gains: false,
    })
    expect(policyChanges(ssh, allowAll, nodes)).toMatchObject({ losing: 0, cutOff: 0, gaining: 6 })
    expect(policyChanges(ssh, ssh, nodes)).toMatchObject({ losing: 0, gaining: 0, told: [] })
  })
})
