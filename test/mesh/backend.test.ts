import { describe, expect, test } from 'vitest'
import { SystemBackend } from '../../agent/mesh/backend.ts'
import { CommandError, type Commands } from '../../agent/mesh/exec.ts'
import { WireGuardKey } from '../../protocol/ids.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** A machine that has these programs and no interface, where every other command succeeds and says nothing. */
function machine(programs: readonly string[], asked: string[] = []): Commands {
  return {
    run: async (program, args) => {
      asked.push([program, ...args].join(' '))
      if (!programs.includes(program)) throw new CommandError(program, 'missing')
      if (args.includes('show'))
        throw new CommandError(program, 'failed', { stderr: 'Device "claw0" does not exist.' })
      return new Uint8Array()
    },
    launch: async (program) => {
      asked.push(program)
      throw new CommandError(program, 'missing')
    },
  }
}

const backend = (commands: Commands, privileges: { netAdmin: boolean; tun: boolean }, userspace = false) =>
  new SystemBackend({
    commands,
    iface: 'claw0',
    publicKey: WireGuardKey.parse('A'.repeat(43)),
    stateDirectory: temporaryDirectory(),
    userspace,
    privileges,
  })

describe('a machine on which there can be no mesh', () => {
  test('is told all that is missing, and of --no-mesh', async () => {
    await expect(backend(machine([]), { netAdmin: false, tun: false }).ensure()).rejects.toMatchObject({
      code: 'E_MESH_UNAVAILABLE',
      why: expect.stringMatching(/CAP_NET_ADMIN.*wireguard-tools.*iproute2/),
      fix: expect.stringContaining('--no-mesh'),
    })
  })

  test('is told of /dev/net/tun and wireguard-go where the kernel’s WireGuard is not to be had', async () => {
    const commands = machine(['wg', 'ip'])
    await expect(backend(commands, { netAdmin: true, tun: false }, true).ensure()).rejects.toMatchObject({
      code: 'E_MESH_UNAVAILABLE',
      why: expect.stringMatching(/\/dev\/net\/tun.*wireguard-go/),
    })
  })
})

describe('the kernel’s WireGuard', () => {
  test('is preferred, and needs no /dev/net/tun', async () => {
    const asked: string[] = []
    const chosen = backend(machine(['wg', 'ip'], asked), { netAdmin: true, tun: false })
    expect(await chosen.ensure()).toBe('created')
    expect(chosen.kind).toBe('kernel')
    expect(asked).toContain('ip link add dev claw0 type wireguard')
  })

  test('is not asked for with --userspace', async () => {
    const asked: string[] = []
    const chosen = backend(machine(['wg', 'ip', 'wireguard-go'], asked), { netAdmin: true, tun: true }, true)
    await expect(chosen.ensure()).rejects.toThrow('wireguard-go is not installed')
    expect(asked.join()).not.toContain('type wireguard')
  })
})
