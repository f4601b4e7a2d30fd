/** The keyring's file: versions come and go, and none is ever another key than it was. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  addMasterKey,
  checkSuccessor,
  type KeyVersions,
  keepKeyring,
  removeMasterKey,
} from '../../cli/up/keyring-file.ts'
import { takeProcessLock } from '../../host/process-lock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const MODULE = join(import.meta.dirname, '../../cli/up/keyring-file.ts')

let directory: string
let path: string
beforeEach(() => {
  directory = join(temporaryDirectory(), 'gateway')
  mkdirSync(directory, { mode: 0o700 })
  path = join(directory, 'keyring.json')
})

interface Content {
  readonly active: number
  readonly keys: Readonly<Record<string, string>>
}
const content = (): Content => JSON.parse(readFileSync(path, 'utf8')) as Content

describe('a new version', () => {
  test('is a key of its own under the next number, in use at once, beside those there were', () => {
    keepKeyring(directory, { fresh: true })
    const first = content()
    expect(addMasterKey(directory)).toEqual({ active: 2, versions: [1, 2] })
    expect(addMasterKey(directory)).toEqual({ active: 3, versions: [1, 2, 3] })
    const { active, keys } = content()
    expect(active).toBe(3)
    expect(keys['1']).toBe(first.keys['1'])
    expect(new Set(Object.values(keys)).size).toBe(3)
    for (const key of Object.values(keys)) expect(Buffer.from(key, 'base64')).toHaveLength(32)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory).sort()).toEqual(['keyring-lock.db', 'keyring.json'])
  })

  test('has a number that no version had before it, even where some are gone', () => {
    keepKeyring(directory, { fresh: true })
    for (let i = 0; i < 11; i++) addMasterKey(directory)
    for (const version of [1, 2, 9, 11]) removeMasterKey(directory, version)
    expect(addMasterKey(directory)).toEqual({ active: 13, versions: [3, 4, 5, 6, 7, 8, 10, 12, 13] })
  })

  test('is not made where no gateway is, nor in a file that is no keyring', () => {
    expect(() => addMasterKey(directory)).toThrow(expect.objectContaining({ code: 'E_NO_GATEWAY' }))
    expect(readdirSync(directory)).toEqual([])
    writeFileSync(path, '{"active":1,"keys":{"1":"c2hvcnQ="}}', { mode: 0o600 })
    expect(() => addMasterKey(directory)).toThrow(expect.objectContaining({ code: 'E_STATE_DAMAGED' }))
    expect(readFileSync(path, 'utf8')).toContain('c2hvcnQ=')
  })

  test('is not made in a file that others could read', () => {
    keepKeyring(directory, { fresh: true })
    chmodSync(path, 0o644)
    expect(() => addMasterKey(directory)).toThrow(expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }))
    expect(content().active).toBe(1)
  })

  test('of several commands at once is lost by none of them', async () => {
    keepKeyring(directory, { fresh: true })
    const script = `import(${JSON.stringify(MODULE)}).then(({ addMasterKey }) => {
      for (;;) try { return console.log(JSON.stringify(addMasterKey(${JSON.stringify(directory)}))) } catch (error) {
        if (error.code !== 'E_KEYRING_BUSY') throw error
      }
    })`
    const made = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
        const [output] = await Promise.all([text(child.stdout), once(child, 'exit')])
        return (JSON.parse(output) as KeyVersions).active
      }),
    )
    expect(made.sort()).toEqual([2, 3, 4, 5])
    expect(Object.keys(content().keys)).toEqual(['1', '2', '3', '4', '5'])
  })

  test('waits for no command that is stuck: it says so', () => {
    keepKeyring(directory, { fresh: true })
    const lock = takeProcessLock(join(directory, 'keyring-lock.db'))
    expect(() => addMasterKey(directory)).toThrow(expect.objectContaining({ code: 'E_KEYRING_BUSY' }))
    lock?.close()
    expect(addMasterKey(directory).active).toBe(2)
  })
})

describe('a version', () => {
  test('is taken away when it is not in use', () => {
    keepKeyring(directory, { fresh: true })
    addMasterKey(directory)
    const before = content().keys
    expect(removeMasterKey(directory, 1)).toEqual({ active: 2, versions: [2] })
    expect(content()).toEqual({ active: 2, keys: { 2: before['2'] } })
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test.for([
    ['in use', 2, 'E_KEY_ACTIVE'],
    ['not there', 7, 'E_KEY_VERSION'],
    ['no number', Number.NaN, 'E_KEY_VERSION'],
  ] as const)('%s is not', ([, version, code]) => {
    keepKeyring(directory, { fresh: true })
    addMasterKey(directory)
    const before = content()
    expect(() => removeMasterKey(directory, version)).toThrow(expect.objectContaining({ code }))
    expect(content()).toEqual(before)
  })
})

test('a keyring that follows another may have more or fewer versions, but no other key under one', () => {
  const key = (byte: number) => Buffer.alloc(32, byte).toString('base64')
  const ring = (active: number, keys: Readonly<Record<string, string>>) => JSON.stringify({ active, keys })
  const before = ring(1, { 1: key(1), 2: key(2) })
  for (const after of [
    before,
    ring(2, { 1: key(1), 2: key(2) }),
    ring(3, { 1: key(1), 2: key(2), 3: key(3) }),
    ring(2, { 2: key(2) }),
  ])
    checkSuccessor(directory, before, after)
  for (const after of [ring(1, { 1: key(9), 2: key(2) }), ring(3, { 2: key(1), 3: key(3) }), '{}'])
    expect(() => checkSuccessor(directory, before, after)).toThrow(
      expect.objectContaining({ code: 'E_STATE_DAMAGED', why: expect.not.stringContaining(key(9)) }),
    )
})
