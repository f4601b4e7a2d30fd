/** `claw mesh policy` against a gateway that really runs, over TLS, and nodes that have really joined. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findPlaces, nearestPlace } from '../../cli/mesh/json-places.ts'
import type { Finished } from '../support/claw.ts'
import { joinNode } from '../support/join-node.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { hasTerminal, inTerminal } from '../support/terminal.ts'

const gateway = ownGateway()

async function joinNodes(): Promise<void> {
  const wanted = [
    ['gpu-1', 'train'],
    ['db-1', 'db'],
  ] as const
  for (const [name, tag] of wanted) await joinNode(gateway, name, tag)
}

const run = (...args: readonly string[]): Promise<Finished> => gateway.run(args)
const policy = (...args: readonly string[]): Promise<Finished> => run('mesh', 'policy', ...args)

function file(document: unknown): string {
  const path = join(gateway.home, 'policy.json')
  writeFileSync(path, typeof document === 'string' ? document : JSON.stringify(document, null, 2))
  return path
}

const SSH = {
  groups: { trainers: ['tag:train'] },
  rules: [
    { src: ['group:trainers'], dst: ['tag:db:5432'], proto: 'tcp', note: 'the trainer reads its data' },
  ],
  tests: [{ from: 'tag:train', to: 'node:db-1', accept: ['tcp:5432'], deny: ['tcp:22'] }],
}

test('two nodes join', joinNodes)

test('a policy is tried out, set, read back, explained, and put back', async () => {
  expect(await policy('get')).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('there is no policy'),
  })

  const path = file(SSH)
  const tried = await policy('test', path)
  expect(tried.code, tried.stderr).toBe(0)
  expect(tried.stdout).toContain('1 test passes\n2 pairs would lose something, 1 of them everything;')
  expect(tried.stdout).toContain('- gpu-1 -> db-1: any becomes tcp:5432')

  expect(await policy('set', path)).toMatchObject({
    code: 10,
    stderr: expect.stringContaining('this takes something from 2 pairs of nodes, and everything from 1'),
  })
  expect(await policy('set', path, '--yes')).toMatchObject({
    code: 0,
    stdout: '',
    stderr: expect.stringContaining('the mesh policy is at version 1\n'),
  })
  const got = await policy('get')
  expect(JSON.parse(got.stdout)).toEqual(SSH)
  expect(got.stderr).toBe('version 1\n')

  const [may, mayNot, nobody] = await Promise.all([
    policy('explain', 'gpu-1', 'db-1', '5432'),
    policy('explain', 'db-1', 'gpu-1', 'tcp:5432'),
    policy('explain', 'gpu-1', 'nobody', 'icmp'),
  ])
  expect(may).toMatchObject({ code: 0, stdout: expect.stringContaining('rules[0] allows it tcp:5432') })
  expect(mayNot).toMatchObject({
    code: 7,
    stdout: expect.stringContaining('denied: db-1 -> gpu-1: no rule allows it tcp:5432'),
  })
  expect(nobody).toMatchObject({ code: 5 })

  // What takes nothing away is not asked about.
  const wider = await policy(
    'set',
    file({ ...SSH, rules: [...SSH.rules, { src: ['tag:db'], dst: ['*:*'] }] }),
  )
  expect(wider).toMatchObject({ code: 0, stderr: expect.stringContaining('version 2') })
  const { stdout: older } = await policy('get', '--version', '1')
  expect((await policy('set', file(older), '--yes')).stderr).toContain('version 3')
  const listed = await policy('history')
  expect(
    listed.stdout
      .split('\n')
      .slice(0, 4)
      .map((line) => line.split(/ {2,}/)[0]),
  ).toEqual(['VERSION', '3', '2', '1'])
  expect(listed.stdout).toContain('admin:root')
})

test('what is wrong is told with file, line and column, all of it at once', async () => {
  const path = file(
    '{\n  "rules": [\n    {"src": ["tag:X"],\n     "dst": ["*:0", "*:1"], "rules": 1}\n  ]\n}\n',
  )
  const shape = await policy('test', path)
  expect(shape).toMatchObject({ code: 1, stdout: '' })
  expect(shape.stderr).toContain(`${path}:4:29: rules[0].rules: there is no such field`)
  const words = await policy('set', file('{"rules": [{"src": ["tag:X"],\n "dst": ["*:0", "node:db-1:1"]}]}'))
  expect(words.stderr).toContain(`${path}:1:21: rules[0].src[0]: `)
  expect(words.stderr).toContain(`${path}:2:10: rules[0].dst[0]: `)
  expect((await policy('set', file('{"rules": [], "rules": []}'))).stderr).toContain(
    'this field is there twice',
  )
  expect((await policy('set', file('{"rules": [}'))).stderr).toContain('is not JSON')
  const unknown = await policy('set', file({ rules: [{ src: ['node:nobody'], dst: ['*:*'] }] }), '--yes')
  expect(unknown.stderr).toContain(`${path}:5:9: rules[0].src[0]: there is no node nobody`)
  const failing = { ...SSH, tests: [{ from: 'tag:db', to: '*', accept: ['icmp'] }] }
  const failed = await policy('set', file(failing), '--yes')
  expect(failed.stderr).toContain('E_MESH_POLICY_TEST')
  expect(failed.stderr).toContain('tests[0].accept[0]: no rule allows node db-1 to reach a node without tags')
  expect(JSON.parse((await policy('get')).stdout)).toEqual(SSH)
})

describe.skipIf(!hasTerminal)('somebody at a terminal', () => {
  test('types how much is taken away', async () => {
    const path = file({ rules: [] })
    const type = (answer: string) =>
      inTerminal(['mesh', 'policy', 'set', path], { env: gateway.running.env, asked: 'to go on:', answer })
    const { code, shown } = await type('yes')
    expect(shown).toContain(
      'This takes something from 1 pair of nodes, and everything from 1. Type set 1 to go on:',
    )
    expect([code, shown.includes('E_CONFIRMATION_REFUSED')]).toEqual([10, true])
    expect(JSON.parse((await policy('get')).stdout)).toEqual(SSH)
    expect(await type('set 1')).toMatchObject({ code: 0 })
    expect(JSON.parse((await policy('get')).stdout)).toEqual({ rules: [] })
  })
})

test('places in a JSON text are those of its values', () => {
  const text = readFileSync(file({ 'a b': [{ c: '],{"' }, [1, -2.5e3, null]], d: { e: true } }), 'utf8')
  const found = findPlaces(text)
  const at = (place: string) => {
    const { line, column } = nearestPlace(found, place)
    return text.split('\n')[line - 1]?.slice(column - 1)
  }
  expect(at('["a b"][0].c')).toBe('"c": "],{\\""')
  expect(at('["a b"][1][1]')).toBe('-2500,')
  expect(at('d.e')).toBe('"e": true')
  expect(at('d.missing[3].x')).toBe('"d": {')
  expect(found.repeated).toEqual([])
})
