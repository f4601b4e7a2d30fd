/**
 * Fifty joins and leaves at random, with whole agents: who may talk to whom afterwards is what the policy says, and of those that left nothing
 * is left. What happens follows from the seed, which is printed.
 */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { eventually } from '../../demo/eventually.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { inParallel } from '../../host/in-parallel.ts'
import { EXIT } from '../../host/user-error.ts'
import type { NodeList } from '../../protocol/http.ts'
import { MeshStatusList } from '../../protocol/mesh-http.ts'
import { Dice } from '../fuzz/mutate.ts'
import { canMakeNamespaces, processesIn } from '../support/netns.ts'

const SEED = Number(process.env['CHURN_SEED'] ?? 20_261_136)
const OPERATIONS = 50
/** On two cores. */
const MOST = 7
const FEWEST = 4
const WIDTH = 3
const SETTLED_MS = 60_000

/** Each kind of machine is let in by a token of its own. Nobody speaks of `spare`. */
const KINDS = [['web'], ['job'], ['db'], ['ops'], ['job', 'db'], ['spare']] as const
type Tags = (typeof KINDS)[number]

/** Who may begin what, as a person would say it: the document below says the same. */
const ALLOWED: readonly { readonly from: string; readonly to: string; readonly ping: boolean }[] = [
  { from: 'web', to: 'job', ping: true },
  { from: 'job', to: 'db', ping: true },
  { from: 'db', to: 'db', ping: true },
  { from: 'web', to: 'web', ping: true },
  { from: 'ops', to: 'web', ping: true },
  { from: 'ops', to: 'db', ping: false },
]
const POLICY = {
  groups: { staff: ['tag:web', 'tag:ops'] },
  rules: [
    { src: ['tag:web'], dst: ['tag:job:*'] },
    { src: ['tag:job', 'tag:db'], dst: ['tag:db:*'], proto: 'icmp' },
    { src: ['group:staff'], dst: ['tag:web:*'], proto: 'any' },
    { src: ['tag:ops'], dst: ['tag:db:5432'], proto: 'tcp' },
  ],
}

interface Member {
  readonly machine: Machine
  tags: Tags
  isUp: boolean
}

const has = ({ tags }: Member, tag: string): boolean => (tags as readonly string[]).includes(tag)
const mayPing = (a: Member, b: Member): boolean =>
  ALLOWED.some(({ from, to, ping }) => ping && has(a, from) && has(b, to))
/** Two are each other's peers if either may begin anything. */
const arePeers = (a: Member, b: Member): boolean =>
  a !== b && ALLOWED.some(({ from, to }) => (has(a, from) && has(b, to)) || (has(b, from) && has(a, to)))

class Fleet {
  readonly lab = new Lab()
  readonly members: Member[] = []
  /** Machines that left, and those that were removed while their agents knew nothing of it. */
  readonly left: { readonly machine: Machine; readonly isUp: boolean }[] = []
  readonly removed: Machine[] = []
  readonly #dice = new Dice(SEED)
  readonly #tokens = new Map<Tags, string>()
  readonly #planned: {
    readonly what: string
    readonly machine: Machine
    readonly run: () => Promise<void>
  }[] = []
  readonly #upsBefore = new Map<Machine, number>()
  #number = 0

  async start(): Promise<void> {
    await this.lab.startGateway()
    await inParallel(KINDS, WIDTH, async (tags) => {
      const flags = tags.flatMap((tag) => ['--tag', tag])
      const token = await this.lab.clawOutput(['token', 'create', '--uses', String(OPERATIONS), ...flags])
      this.#tokens.set(tags, this.lab.file(`${tags.join('-')}.token`, token))
    })
    const policy = this.lab.file('policy.json', JSON.stringify(POLICY))
    await this.lab.clawOutput(['mesh', 'policy', 'set', policy, '--yes'])
  }

  /** Fifty things that happen, chosen by the dice alone. They are done as planned, some at a time, and nobody waits for what comes of them. */
  async churn(): Promise<string> {
    for (let i = 0; i < OPERATIONS; i++) this.#plan()
    for (const member of this.members) if (!member.isUp) this.#startAgain(member)
    const turns = new Map<Machine, Promise<void>>()
    await inParallel(this.#planned, WIDTH, ({ machine, run }) => {
      const turn = (turns.get(machine) ?? Promise.resolve()).then(run)
      turns.set(machine, turn)
      return turn
    })
    return this.#planned.map(({ what, machine }) => `${machine.name} ${what}`).join(', ')
  }

  /** An agent that dies of it has not taken its interface away. One that does not listen for signals yet has nothing to take away, and just ends. */
  async goodbye(machine: Machine): Promise<void> {
    await this.#isRunning(machine)
    await machine.end('SIGTERM')
    expect(await machine.ended(), this.lab.log(machine.name)).toBe(EXIT.ok)
  }

  async #isRunning(machine: Machine): Promise<void> {
    const before = this.#upsBefore.get(machine) ?? 0
    await eventually(
      SETTLED_MS,
      async () => this.#ups(machine),
      (ups) => ups > before,
    )
  }

  #start(machine: Machine): void {
    machine.start()
    this.#upsBefore.set(machine, this.#ups(machine))
  }

  /** How often an agent has come up there. */
  #ups(machine: Machine): number {
    return this.lab.log(machine.name).split('"agent up"').length - 1
  }

  #plan(): void {
    const { members } = this
    const [down, up] = [members.filter(({ isUp }) => !isUp), members.filter(({ isUp }) => isUp)]
    const possible: (() => void)[] = []
    if (members.length < MOST) possible.push(this.#join, this.#join)
    if (members.length > FEWEST) possible.push(() => this.#remove(this.#pick(members)))
    if (members.length > FEWEST) possible.push(() => this.#leave(this.#pick(members)))
    const tag = () => this.#tag(this.#pick(members))
    if (members.length > 0) possible.push(tag, tag)
    if (up.length > 0) possible.push(() => this.#stop(this.#pick(up)))
    if (down.length > 0) possible.push(() => this.#startAgain(this.#pick(down)))
    this.#pick(possible)()
  }

  readonly #join = (): void => {
    const tags = this.#pick(KINDS)
    const machine = this.lab.addMachine(`n${++this.#number}`)
    this.members.push({ machine, tags, isUp: true })
    this.#do(`joins as ${tags}`, machine, async () => {
      await machine.join(this.#tokens.get(tags) ?? expect.fail())
      this.#start(machine)
    })
  }

  #startAgain(member: Member): void {
    member.isUp = true
    this.#do('is back', member.machine, async () => this.#start(member.machine))
  }

  /** By its own wish. An agent that has not come up yet would find nothing to run with. */
  #leave(member: Member): void {
    const { machine, isUp } = this.#strike(member)
    this.left.push({ machine, isUp })
    this.#do(isUp ? 'leaves' : 'leaves while its agent is away', machine, async () => {
      if (isUp) await this.#isRunning(machine)
      await machine.leave()
    })
  }

  /** An agent that is away hears of it when it is back. */
  #remove(member: Member): void {
    const { machine, isUp } = this.#strike(member)
    this.removed.push(machine)
    this.#do(`is removed${isUp ? '' : ' while it is away'}`, machine, async () => {
      await this.lab.clawOutput(['node', 'rm', machine.name, '--yes'])
      if (!isUp) this.#start(machine)
    })
  }

  #stop(member: Member): void {
    member.isUp = false
    const { machine } = member
    if (this.#dice.below(2) === 0) this.#do('is killed', machine, () => machine.end('SIGKILL'))
    else this.#do('stops', machine, () => this.goodbye(machine))
  }

  #tag(member: Member): void {
    const { machine } = member
    member.tags = this.#pick(KINDS)
    const flags = member.tags.flatMap((tag) => ['--set', tag])
    this.#do(`becomes ${member.tags}`, machine, async () => {
      await this.lab.clawOutput(['node', 'tag', machine.name, ...flags])
    })
  }

  #strike(member: Member): Member {
    this.members.splice(this.members.indexOf(member), 1)
    return member
  }

  #do(what: string, machine: Machine, run: () => Promise<void>): void {
    this.#planned.push({ what, machine, run })
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#dice.below(items.length)] ?? expect.fail('nothing to choose from')
  }
}

describe.skipIf(!canMakeNamespaces)('a fleet that comes and goes (needs root and /dev/net/tun)', () => {
  let fleet: Fleet
  let nodes: NodeList['items']
  beforeAll(async () => {
    fleet = new Fleet()
    await fleet.start()
  })
  afterAll(() => fleet?.lab.destroy())

  const nodeOf = ({ machine }: Member) =>
    nodes.find(({ name }) => name === machine.name) ?? expect.fail(`${machine.name} is not a node`)
  const peersOf = (member: Member) => fleet.members.filter((other) => arePeers(member, other))
  const pairs = () =>
    fleet.members.flatMap((a) => fleet.members.filter((b) => b !== a).map((b) => [a, b] as const))

  test('everyone follows the map after fifty joins, leaves, removals, kills and other tags', async () => {
    process.stdout.write(`seed ${SEED} (CHURN_SEED)\n`)
    const begun = performance.now()
    const happened = await fleet.churn()
    const seconds = (performance.now() - begun) / 1000
    process.stdout.write(`${happened}: ${seconds.toFixed(1)} s\n`)

    const names = fleet.members.map(({ machine }) => machine.name).sort()
    const { ms } = await eventually(
      SETTLED_MS,
      async () =>
        MeshStatusList.parse(JSON.parse(await fleet.lab.clawOutput(['mesh', 'status', '-o', 'json']))).items,
      (items) =>
        String(items.map(({ name }) => name).sort()) === String(names) &&
        items.every(
          ({ status, behind, hash }) => status === 'online' && behind?.entries === 0 && hash === 'ok',
        ),
    )
    process.stdout.write(`all have the map ${(ms / 1000).toFixed(1)} s after the last\n`)
    nodes = await fleet.lab.nodes()
  })

  test('on each interface are the peers that the policy gives it, and nobody who left', async () => {
    for (const member of fleet.members) {
      const { machine } = member
      const expected = peersOf(member).map((peer) => base64UrlToBase64(nodeOf(peer).keys.wireguard))
      const peers = await machine.run('wg', 'show', machine.interface, 'peers')
      expect(peers.split('\n').filter(Boolean).sort(), machine.name).toEqual(expected.sort())
    }
    const { ms } = await eventually(
      SETTLED_MS,
      () =>
        Promise.all(
          fleet.members.map(({ machine }) =>
            machine.run('wg', 'show', machine.interface, 'latest-handshakes'),
          ),
        ),
      (shown) => !shown.some((lines) => /\t0$/m.test(lines)),
    )
    process.stdout.write(`each pair has a session ${(ms / 1000).toFixed(1)} s later\n`)
  })

  test('every pair that may ping does, over IPv4 and IPv6, and no other', async () => {
    const addresses = (member: Member) => [nodeOf(member).ipv4, nodeOf(member).ipv6]
    const seen = await Promise.all(
      pairs().flatMap(([a, b]) =>
        addresses(b).map(async (address) => {
          const { sent, lost } = await a.machine.ping(address, 3)
          return {
            pair: `${a.machine.name} (${a.tags}) to ${b.machine.name} (${b.tags}), ${address}`,
            got: sent - lost,
          }
        }),
      ),
    )
    const expected = pairs().flatMap(([a, b]) => addresses(b).map(() => (mayPing(a, b) ? 3 : 0)))
    const allowed = expected.filter((got) => got > 0).length
    process.stdout.write(`${allowed} ways are open and ${expected.length - allowed} are not\n`)
    expect(Math.min(allowed, expected.length - allowed), 'another seed is needed').toBeGreaterThan(0)
    expect(seen).toEqual(seen.map(({ pair }, index) => ({ pair, got: expected[index] })))
  })

  test('who was removed or has left has ended by itself, and nobody leaves anything behind', async () => {
    const left = fleet.left.map(({ machine }) => machine)
    const toldToEnd = fleet.left.filter(({ isUp }) => isUp).map(({ machine }) => machine)
    for (const machine of [...fleet.removed, ...toldToEnd])
      expect(await machine.ended(), fleet.lab.log(machine.name)).toBe(EXIT.revoked)
    await Promise.all(fleet.members.map(({ machine }) => fleet.goodbye(machine)))
    for (const machine of left) expect(existsSync(machine.directory), machine.name).toBe(false)
    for (const machine of [...left, ...fleet.removed, ...fleet.members.map((one) => one.machine)]) {
      const links = JSON.parse(await machine.run('ip', '-j', 'link')) as { ifname: string }[]
      expect(links.map(({ ifname }) => ifname).sort(), machine.name).toEqual(['eth0', 'lo'])
      expect(await machine.run('nft', 'list', 'ruleset'), machine.name).toBe('')
      expect(machine.host.hostsFile, machine.name).not.toContain('fleet.internal')
      await vi.waitFor(() => expect(processesIn(machine.host.namespace), machine.name).toEqual([]))
    }
  })
})
