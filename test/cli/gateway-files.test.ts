/** The files of a gateway's directory: made once, completed if cut short, never made anew over what depends on them. */
import { createPublicKey, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { keepKeyFiles } from '../../cli/up/key-files.ts'
import { keepTlsFiles } from '../../cli/up/tls-files.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const KEYS = ['admin.token', 'gateway.jwk', 'keyring.json']
const TLS = ['ca.key', 'ca.pem', 'server.key', 'server.pem']
const DAY_MS = 24 * 60 * 60_000
const CANARY = 'c4n4ry-of-a-damaged-file'

interface Options {
  readonly names?: readonly string[]
  readonly fresh?: boolean
  readonly now?: Date
}

/** Everything `claw up` makes, and what each file then holds. */
async function keepAll(
  directory: string,
  { names = ['localhost'], fresh = true, now = new Date() }: Options = {},
) {
  keepKeyFiles(directory, { fresh })
  await keepTlsFiles(directory, names, { fresh, now })
  return contentOf(directory)
}

const contentOf = (directory: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')]),
  )

const leafOf = (content: Record<string, string>) => new X509Certificate(content['server.pem'] ?? '')

test('a second start finds everything as it was', async () => {
  const directory = temporaryDirectory()
  const first = await keepAll(directory)
  expect(Object.keys(first).sort()).toEqual([...KEYS, ...TLS].sort())
  expect(await keepAll(directory, { fresh: false })).toEqual(first)
})

test.each([...KEYS, ...TLS])('a first start that was cut short before %s is completed', async (name) => {
  const directory = temporaryDirectory()
  const first = await keepAll(directory)
  rmSync(join(directory, name))
  // A certificate is no use without the CA key it was made with, as the next test says.
  if (name === 'ca.key') rmSync(join(directory, 'ca.pem'))
  const second = await keepAll(directory)
  expect(Object.keys(second)).toEqual(Object.keys(first))
  const untouched = [...KEYS, 'ca.key', 'server.key'].filter((other) => other !== name)
  for (const other of untouched) expect(second[other]).toBe(first[other])
  expect(leafOf(second).verify(createPublicKey(second['ca.pem'] ?? ''))).toBe(true)
})

test.each(['keyring.json', 'ca.key'])(
  'a lost %s of a gateway that has served is an error, not a new one',
  async (name) => {
    const directory = temporaryDirectory()
    await keepAll(directory)
    rmSync(join(directory, name))
    await expect(keepAll(directory, { fresh: false })).rejects.toMatchObject({
      code: 'E_STATE_DAMAGED',
      exitCode: 78,
    })
    expect(readdirSync(directory)).not.toContain(name)
  },
)

test.each([...KEYS, 'ca.key', 'ca.pem', 'server.key'])(
  'a damaged %s is named, and nothing of it is told',
  async (name) => {
    const directory = temporaryDirectory()
    await keepAll(directory)
    writeFileSync(join(directory, name), CANARY)
    const error: unknown = await keepAll(directory, { fresh: false }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'E_STATE_DAMAGED', message: expect.stringContaining(name) })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(CANARY)
    expect(contentOf(directory)[name]).toBe(CANARY)
  },
)

test('a CA and a key that do not belong together are refused', async () => {
  const [one, other] = [temporaryDirectory(), temporaryDirectory()]
  await keepAll(one)
  writeFileSync(join(one, 'ca.key'), (await keepAll(other))['ca.key'] ?? '')
  await expect(keepAll(one)).rejects.toMatchObject({ code: 'E_STATE_DAMAGED' })
})

describe('the server certificate', () => {
  test('is for every name and address, lives at most 397 days and is backdated an hour', async () => {
    const now = new Date()
    const names = ['gw.example.com', '192.0.2.7', 'fd00::7', '::1']
    const leaf = leafOf(await keepAll(temporaryDirectory(), { names, now }))
    expect(leaf.checkHost('gw.example.com')).toBeDefined()
    for (const address of names.slice(1)) expect(leaf.checkIP(address)).toBeDefined()
    expect(leaf.checkHost('other.example.com')).toBeUndefined()
    expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBeLessThanOrEqual(397 * DAY_MS)
    expect(Math.abs(now.getTime() - 3_600_000 - leaf.validFromDate.getTime())).toBeLessThan(1000)
    expect(leaf.ca).toBe(false)
  })

  test('is sent with its CA', async () => {
    const content = await keepAll(temporaryDirectory())
    expect(content['server.pem']?.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
    expect(content['server.pem']?.endsWith(content['ca.pem'] ?? '-')).toBe(true)
  })

  test.each([
    ['a name is new', { names: ['localhost', 'gw.example.com'] }, true],
    ['it ends within 30 days', { now: new Date(Date.now() + 370 * DAY_MS) }, true],
    ['it has 60 days to go', { now: new Date(Date.now() + 335 * DAY_MS) }, false],
    ['a name is no longer asked for', { names: [] }, false],
  ])('when %s: renewed %s', async (_case, change, renewed) => {
    const directory = temporaryDirectory()
    const { 'server.pem': before, ...rest } = await keepAll(directory)
    const { 'server.pem': after, ...restAfter } = await keepAll(directory, { ...change, fresh: false })
    expect(after !== before).toBe(renewed)
    expect(restAfter).toEqual(rest)
  })

  test('is replaced when it is another CA’s', async () => {
    const [one, other] = [temporaryDirectory(), temporaryDirectory()]
    await keepAll(one)
    writeFileSync(join(one, 'server.pem'), (await keepAll(other))['server.pem'] ?? '')
    const mended = await keepAll(one)
    expect(leafOf(mended).verify(createPublicKey(mended['ca.pem'] ?? ''))).toBe(true)
  })
})
