import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadKeys, loadOrCreateKeys } from '../../agent/node-keys.ts'
import { findNodeState, type NodeState, readNodeState, writeNodeState } from '../../agent/node-state.ts'
import { UserError } from '../../host/user-error.ts'
import { FleetId, GatewayKey, IdentityKey, Ipv4, Ipv6, NodeId, NodeName } from '../../protocol/ids.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FILES = ['identity.key', 'sealing.key', 'wireguard.key']

const state: NodeState = {
  version: 1,
  gateway: { url: 'https://gateway:8443', pins: [], keys: [GatewayKey.parse('A'.repeat(43))] },
  identity: IdentityKey.parse('A'.repeat(43)),
  node: {
    id: NodeId.parse('a'.repeat(26)),
    name: NodeName.parse('node-a'),
    fleet: FleetId.parse('b'.repeat(26)),
    fleetName: 'fleet',
    ipv4: Ipv4.parse('10.100.0.1'),
    ipv4Range: '10.100.0.0/16',
    ipv6: Ipv6.parse('fd00::1'),
    ipv6Range: 'fd00::/48',
    tags: [],
  },
}

async function refusal(work: () => unknown): Promise<UserError> {
  try {
    await work()
  } catch (error) {
    if (error instanceof UserError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('key files', () => {
  test.each([0o000, 0o022, 0o077])(
    'are 0600 under umask %o, and the same keys come back (M-2)',
    async (mask) => {
      const directory = temporaryDirectory()
      const before = process.umask(mask)
      const made = await loadOrCreateKeys(directory).finally(() => process.umask(before))
      expect(readdirSync(directory).sort()).toEqual(FILES)
      for (const file of FILES) expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600)
      for (const again of [await loadKeys(directory), await loadOrCreateKeys(directory)]) {
        expect(again.identity.publicKey).toBe(made.identity.publicKey)
        expect(again.wireguard.publicKey).toBe(made.wireguard.publicKey)
        expect(again.sealing.publicKey).toBe(made.sealing.publicKey)
      }
    },
  )

  test('of another directory are other keys', async () => {
    const [one, other] = await Promise.all([temporaryDirectory(), temporaryDirectory()].map(loadOrCreateKeys))
    expect(one?.identity.publicKey).not.toBe(other?.identity.publicKey)
  })

  test('hold 32 bytes in base64 and a line feed; other white space at the end is tolerated', async () => {
    const directory = temporaryDirectory()
    const { wireguard } = await loadOrCreateKeys(directory)
    const path = join(directory, 'wireguard.key')
    const text = readFileSync(path, 'utf8')
    expect(text).toMatch(/^[A-Za-z0-9+/]{43}=\n$/)
    for (const ending of ['', '\r\n', ' \n\n']) {
      writeFileSync(path, text.trimEnd() + ending)
      expect((await loadKeys(directory)).wireguard.publicKey).toBe(wireguard.publicKey)
    }
  })

  test.each([
    ['empty', ''],
    ['too short', Buffer.alloc(31, 7).toString('base64')],
    ['too long', Buffer.alloc(33, 7).toString('base64')],
    ['of the wrong alphabet', `${'*'.repeat(43)}=`],
    ['base64url', `${'-_'.repeat(21)}A=`],
    ['not canonical', `${'A'.repeat(42)}B=`],
    ['preceded by a space', ` ${Buffer.alloc(32, 7).toString('base64')}`],
  ])('that are %s are refused without a word of their content', async (_, content) => {
    const directory = temporaryDirectory()
    await loadOrCreateKeys(directory)
    writeFileSync(join(directory, 'identity.key'), content)
    const { code, message, why, fix, stack } = await refusal(() => loadKeys(directory))
    expect(code).toBe('E_KEY_INVALID')
    if (content !== '') expect([message, why, fix, stack].join()).not.toContain(content)
  })

  test('that others can read, or that are links, are refused', async () => {
    const directory = temporaryDirectory()
    await loadOrCreateKeys(directory)
    chmodSync(join(directory, 'sealing.key'), 0o640)
    expect((await refusal(() => loadKeys(directory))).code).toBe('E_FILE_PERMISSIONS')
    const linked = temporaryDirectory()
    for (const file of FILES) symlinkSync(join(directory, file), join(linked, file))
    expect((await refusal(() => loadOrCreateKeys(linked))).code).toBe('E_FILE_PERMISSIONS')
  })

  test('that are missing are not made up when the node is to run', async () => {
    expect((await refusal(() => loadKeys(temporaryDirectory()))).code).toBe('E_KEY_MISSING')
  })

  test('that cannot be saved end it there, and leave nothing behind', async () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'wireguard.key'))
    await expect(loadOrCreateKeys(directory)).rejects.toThrow()
    expect(readdirSync(directory).sort()).toEqual(['identity.key', 'wireguard.key'])
  })
})

describe('node.json', () => {
  test('is 0600 and comes back as it was', () => {
    const directory = temporaryDirectory()
    writeNodeState(directory, state)
    expect(statSync(join(directory, 'node.json')).mode & 0o777).toBe(0o600)
    expect(readNodeState(directory)).toEqual(state)
  })

  test('that is absent says how to join', async () => {
    const directory = temporaryDirectory()
    expect(findNodeState(directory)).toBeUndefined()
    const { code, fix } = await refusal(() => readNodeState(directory))
    expect(code).toBe('E_NOT_JOINED')
    expect(fix).toContain('clawnode join')
  })

  test.each([
    ['no JSON', '{', undefined],
    ['an unknown field', JSON.stringify({ ...state, proxy: 'x' }), undefined],
    [
      'a field of the wrong kind',
      JSON.stringify({ ...state, node: { ...state.node, ipv4: 'x' } }),
      'node.ipv4',
    ],
    ['a later version', JSON.stringify({ ...state, version: 2 }), 'version'],
  ])('with %s is refused', async (_, content, where) => {
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'node.json'), content, { mode: 0o600 })
    const { code, why } = await refusal(() => readNodeState(directory))
    expect(code).toBe('E_STATE_INVALID')
    if (where !== undefined) expect(why).toContain(where)
  })
})
