/** What is taken away after an agent that was killed, and what is not: only that which is proven to be this node's. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CommandError, type Commands } from '../../agent/mesh/exec.ts'
import { InterfaceRecord } from '../../agent/mesh/interface-record.ts'
import { removeLeftMesh } from '../../agent/mesh/left-mesh.ts'
import { WireGuardKey } from '../../protocol/ids.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const OWN = WireGuardKey.parse('A'.repeat(43))
const OTHER = `${'B'.repeat(42)}A`
const INDEX = 7

interface Link {
  readonly key: string | undefined
  readonly refuses?: boolean
}

/** A machine with this interface claw0; what it was told to change. */
function machine(link: Link | undefined) {
  const changes: string[] = []
  const commands: Commands = {
    run: async (program, args, input) => {
      if (program === 'wg') return Buffer.from(dump(link?.key))
      if (program === 'ip' && args.includes('show')) {
        if (link === undefined)
          throw new CommandError('ip', 'failed', { stderr: 'Device "claw0" does not exist.' })
        return Buffer.from(JSON.stringify([{ ifindex: INDEX, linkinfo: { info_kind: 'wireguard' } }]))
      }
      if (program === 'cat') throw new CommandError('cat', 'failed')
      if (link?.refuses === true) throw new CommandError(program, 'failed', { stderr: 'Not permitted' })
      changes.push(program === 'nft' ? Buffer.from(input ?? []).toString() : [program, ...args].join(' '))
      return new Uint8Array()
    },
    launch: () => expect.fail('nothing is to be started'),
  }
  return { commands, changes }
}

const left = (
  commands: Commands,
  node: { key?: WireGuardKey | undefined; directory?: string } = { key: OWN },
) =>
  removeLeftMesh({
    stateDirectory: node.directory ?? temporaryDirectory(),
    publicKey: node.key,
    iface: 'claw0',
    commands,
  })

const dump = (key: string | undefined): string =>
  key === undefined ? '(none)\t(none)\t51820\toff\n' : `${'C'.repeat(42)}A=\t${key}=\t51820\toff\n`

const TABLES = ['claw_claw0_rules', 'claw_claw0_paths', 'clawnode_relay_claw0']
const deletes = (changes: readonly string[]) =>
  TABLES.filter((table) => changes.some((change) => change.includes(`delete table inet ${table}`)))

describe('an interface', () => {
  test('that has this node’s key is removed, with the tables', async () => {
    const { commands, changes } = machine({ key: OWN })
    expect(await left(commands)).toEqual([])
    expect(changes[0]).toBe('ip link delete dev claw0')
    expect(deletes(changes)).toEqual(TABLES)
  })

  test('that is noted is, whatever its key, also when that of the node is not known any more', async () => {
    const directory = temporaryDirectory()
    new InterfaceRecord(directory, 'claw0').write({ iface: 'claw0', index: INDEX })
    const { commands, changes } = machine({ key: OTHER })
    expect(await left(commands, { directory })).toEqual([])
    expect(changes[0]).toBe('ip link delete dev claw0')
    expect(existsSync(join(directory, 'interface-claw0.json'))).toBe(false)
  })

  test.each([
    ['another key', OTHER, undefined, OWN],
    ['another key, and took the name of one that is noted', OTHER, INDEX + 1, OWN],
    ['no key', undefined, undefined, OWN],
    ['a key while that of the node is not known', OTHER, undefined, undefined],
    ['no key while that of the node is not known', undefined, undefined, undefined],
  ])('that has %s is left alone, and so are its tables', async (_, found, index, key) => {
    const directory = temporaryDirectory()
    if (index !== undefined) new InterfaceRecord(directory, 'claw0').write({ iface: 'claw0', index })
    const { commands, changes } = machine({ key: found })
    expect(await left(commands, { directory, key })).toEqual([])
    expect(changes).toEqual([])
  })

  test('that cannot be removed is named', async () => {
    const { commands } = machine({ key: OWN, refuses: true })
    expect(await left(commands)).toEqual(['claw0: ip exited with an unknown status: Not permitted'])
  })
})

test('where the interface is gone, its tables go', async () => {
  const { commands, changes } = machine(undefined)
  expect(await left(commands)).toEqual([])
  expect(deletes(changes)).toEqual(TABLES)
})

test('where there is no `ip` there is nothing', async () => {
  const run = async (program: string) => {
    throw new CommandError(program, 'missing')
  }
  expect(await left({ run, launch: run })).toEqual([])
})
