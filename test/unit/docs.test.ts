/** The documentation is true of the code: nothing of the contract is missing from it, and nothing in it is missing from the code. */
import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type * as z from 'zod'
import { NODE_SETTINGS } from '../../agent/config/settings.ts'
import { EXIT } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { CLOSE, GatewayFrame, NodeFrame } from '../../protocol/frames.ts'
import * as limits from '../../protocol/limits.ts'
import { code, importGateway, inRoot, readText, rows, section } from './markdown.ts'

const PROTOCOL = 'docs/protocol.md'
const OPERATIONS = 'docs/operations.md'
const DOCUMENTS = ['README.md', ...globSync('docs/*.md', { cwd: inRoot('') })]

const sourcesIn = (...folders: string[]): string[] =>
  globSync(`{${folders.join(',')}}/**/*.ts`, { cwd: inRoot('') }).map(readText)

describe('docs/protocol.md', () => {
  test('limits', () => {
    const documented = rows(section(PROTOCOL, '## Limits')).map(([name, value]) => [code(name), value])
    const actual = Object.entries(limits).map(([name, value]) => [name, describeLimit(value)])
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual))
  })

  test('error codes, with status and title, and whether anything sends them', () => {
    const sources = [
      ...sourcesIn('worker', 'durable-objects', 'secrets', 'relay'),
      readText('crypto/request-proof.ts'),
      readText('crypto/relay-grant.ts'),
      readText('protocol/secret-policy.ts'),
    ]
    const gateway = sources.join('\n')
    const documented = rows(section(PROTOCOL, '## Errors')).map(([name, status, title]) => [
      code(name),
      `${status} ${title}`,
    ])
    const actual = Object.entries(ERRORS).map(([name, { status, title }]) => [
      name,
      `${status} ${title}${gateway.includes(`'${name}'`) ? '' : ' *reserved*'}`,
    ])
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual))
  })

  test('close codes', () => {
    const documented = rows(section(PROTOCOL, '### Close codes')).map(([number, name]) => [
      code(name),
      Number(number),
    ])
    expect(Object.fromEntries(documented)).toEqual(CLOSE)
  })

  test.each([
    ['### Frames from a node', NodeFrame],
    ['### Frames from the gateway', GatewayFrame],
  ])('%s, with their fields', (heading, { options }) => {
    const documented = rows(section(PROTOCOL, heading)).map(([type, fields = '']) => [
      code(type),
      [...fields.matchAll(/`([a-zA-Z0-9]+\??)`/g)].map(([, field]) => field),
    ])
    const frames = options.map(({ shape: { type, ...fields } }) => [type.value, fieldNames(fields)] as const)
    expect(documented.map(([type]) => type).sort()).toEqual(frames.map(([type]) => type).sort())
    const byType = Object.fromEntries(documented)
    for (const [type, fields] of frames) expect(byType[type], type).toEqual(expect.arrayContaining(fields))
  })

  test('routes', async () => {
    const { app } = await importGateway<{ app: { routes: { method: string; path: string }[] } }>(
      'worker/app.ts',
    )
    const documented = rows(section(PROTOCOL, '## Routes')).map(([route]) => code(route))
    // `ALL` is middleware, not a route.
    const actual = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path}`)
    expect(documented.sort()).toEqual([...new Set(actual)].sort())
  })
})

describe('docs/operations.md', () => {
  test('settings of a node', () => {
    const documented = rows(section(OPERATIONS, '## Configuration of a node')).map(
      ([name, variables = '', flag]) => [code(name), variables.replaceAll('`', '').split(', '), code(flag)],
    )
    const actual = Object.entries(NODE_SETTINGS).map(([name, { env, ...setting }]) => [
      name,
      [...env],
      'flag' in setting ? setting.flag : '',
    ])
    expect(documented).toEqual(actual)
  })

  test('exit codes', () => {
    const documented = rows(section(OPERATIONS, '## Exit codes')).map(([number, name]) => [
      code(name),
      Number(number),
    ])
    expect(Object.fromEntries(documented)).toEqual(EXIT)
  })

  test('metrics', async () => {
    const { readCounters } = await importGateway<{
      readCounters(): { counters: Record<string, number> }
    }>('durable-objects/counters.ts')
    const documented = rows(section(OPERATIONS, '## Metrics')).map(([name]) => code(name))
    const counters = Object.keys(readCounters().counters).map((name) => `claw_gateway_${name}_total`)
    const gauges = [...readText('worker/routes/metrics.ts').matchAll(/# TYPE (\w+) gauge/g)].map(
      ([, name]) => name,
    )
    expect(documented.sort()).toEqual([...counters, ...gauges].sort())
  })

  test('events in the log of the gateway', () => {
    const documented = rows(section(OPERATIONS, '## Logs')).map(([name]) => code(name))
    const actual = sourcesIn('worker', 'durable-objects', 'secrets').flatMap((source) =>
      [...source.matchAll(/\bevent: '(\w+)'/g)].map(([, name]) => name),
    )
    expect(documented.sort()).toEqual([...new Set(actual)].sort())
  })
})

describe.each(DOCUMENTS)('%s', (path) => {
  const text = readText(path)

  test('links lead somewhere', () => {
    const targets = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, target = '']) => target)
    expect(targets.filter((target) => !existsSync(inRoot(join(dirname(path), target))))).toEqual([])
  })

  test('files it names are there', () => {
    const files = globSync('**/*.{ts,sql,toml,md}', {
      cwd: inRoot(''),
      exclude: (name) => name.startsWith('node_modules'),
    }).map((name) => `/${name}`)
    const named = [...text.matchAll(/`((?:[a-z0-9-]+\/)*[a-z0-9-]+\.(?:ts|sql|toml|md))`/g)]
    const missing = named.filter(([, name]) => !files.some((file) => file.endsWith(`/${name}`)))
    expect(missing.map(([, name]) => name)).toEqual([])
  })
})

const describeLimit = (limit: number | Readonly<Record<string, number>>): string =>
  typeof limit === 'number'
    ? String(limit)
    : Object.entries(limit)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ')

/** As the tables write them: `name`, and `name?` where it may be absent. */
const fieldNames = (shape: Readonly<Record<string, z.ZodType>>): string[] =>
  Object.entries(shape).map(([name, type]) => (type.safeParse(undefined).success ? `${name}?` : name))
