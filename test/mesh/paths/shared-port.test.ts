/** The rules by which the agent shares WireGuard's port: whole, kept, and gone when it ends. What they do is shown in paths.netns.test.ts. */
import { afterEach, describe, expect, test } from 'vitest'
import { CommandError, type Commands } from '../../../agent/mesh/exec.ts'
import { SharedPort } from '../../../agent/mesh/paths/shared-port.ts'

/** `nft` as far as it is used: it knows whether there is a table. */
class FakeNft implements Commands {
  rules: string | undefined
  fails = false
  readonly inputs: string[] = []

  launch(): never {
    throw new Error('nothing is started here')
  }

  async run(program: string, args: readonly string[], input = new Uint8Array()): Promise<Uint8Array> {
    expect(program).toBe('nft')
    if (this.fails) throw new CommandError('nft', 'failed', { status: 'status 1', stderr: 'not permitted' })
    if (args[0] === 'list') {
      if (this.rules === undefined) throw new CommandError('nft', 'failed', { status: 'status 1' })
      return Buffer.from(this.rules)
    }
    const text = Buffer.from(input).toString()
    this.inputs.push(text)
    this.rules = text.includes('chain') ? text : undefined
    return new Uint8Array()
  }
}

const opened: SharedPort[] = []
const open = async (commands: FakeNft) => {
  const port = await SharedPort.open({ commands, iface: 'claw0', listenPort: 51_820 })
  opened.push(port)
  return port
}
afterEach(() => Promise.all(opened.splice(0).map((port) => port.close())))

describe('the shared port', () => {
  test('is a table of its own, replaced as a whole', async () => {
    const nft = new FakeNft()
    await open(nft)
    expect(nft.inputs).toHaveLength(1)
    const [head, next] = nft.rules?.split('\n') ?? []
    expect([head, next]).toEqual(['table inet claw_claw0_paths', 'delete table inet claw_claw0_paths'])
    expect(nft.rules).toMatch(/udp dport 51820 @th,64,32 0x434c5750 udp dport set (\d+)\n/)
    expect(nft.rules).toMatch(/udp dport 51820 @th,96,32 0x2112a442 udp dport set (\d+)\n/)
    // Whoever writes to the agent's socket directly has got past the firewall that guards WireGuard's port, and is not heard.
    expect(nft.rules).toMatch(/udp dport (\d+) drop\n/)
    expect(nft.rules).toMatch(/udp sport \d+ udp sport set 51820\n/)
  })

  test('has its rules put back when somebody has taken them away, and only then', async () => {
    const nft = new FakeNft()
    const port = await open(nft)
    const before = nft.rules
    expect(await port.reassert()).toBe(false)
    expect(nft.inputs).toHaveLength(1)
    nft.rules = undefined
    expect(await port.reassert()).toBe(true)
    expect(nft.rules).toBe(before)
  })

  test('leaves nothing behind, and is no port where there are no nftables', async () => {
    const nft = new FakeNft()
    const port = await open(nft)
    opened.length = 0
    await port.close()
    expect(nft.rules).toBeUndefined()
    port.poke('10.100.0.2' as never)
    nft.fails = true
    await expect(open(nft)).rejects.toBeInstanceOf(CommandError)
  })
})
