/** Nodes of a NAT lab: real engines, real WireGuard, and the test in place of the gateway. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { vi } from 'vitest'
import type { MeshStatus } from '../../agent/mesh/engine-options.ts'
import type { PeerStatus } from '../../agent/mesh/peer-status.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { type Host, uniqueInterface } from '../support/netns.ts'
import type { EngineInput, Order, Said } from './engine-process.ts'
import { type NodeSeed, newSeed } from './mesh-node.ts'

const PROCESS = join(import.meta.dirname, 'engine-process.ts')

interface Options {
  readonly host: Host
  readonly number: number
  readonly stateDirectory: string
  readonly input?: Partial<EngineInput>
}

export class LabNode {
  readonly host: Host
  readonly seed: NodeSeed
  readonly iface = uniqueInterface()
  readonly #options: Options
  #process: ChildProcess | undefined
  #entry: MeshPeer | undefined
  #statuses: ((said: Extract<Said, { type: 'status' }>) => void)[] = []
  onSignals: (signals: Extract<Said, { type: 'signals' }>['signals']) => void = () => {}

  constructor(options: Options) {
    this.#options = options
    this.host = options.host
    this.seed = newSeed(options.number)
  }

  get entry(): MeshPeer {
    if (this.#entry === undefined) throw new Error('the node has not started')
    return this.#entry
  }

  /** Resolves when its interface is up. */
  async start(change: Partial<EngineInput> = {}): Promise<void> {
    const child = this.host.spawn(process.execPath, [PROCESS], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process = child
    const { seed, iface } = this
    const { stateDirectory, input } = this.#options
    this.#write({ seed, iface, stateDirectory, stun: [], ...input, ...change })
    const up = Promise.withResolvers<void>()
    child.once('exit', () => up.reject(new Error('the engine ended')))
    up.promise.catch(() => undefined)
    if (child.stdout === null) throw new Error('no output')
    createInterface(child.stdout).on('line', (line) => {
      const said = JSON.parse(line) as Said
      if (said.type === 'up') {
        this.#entry = said.entry
        up.resolve()
      } else if (said.type === 'signals') this.onSignals(said.signals)
      else if (said.type === 'status') this.#statuses.shift()?.(said)
    })
    await up.promise
  }

  order(order: Order): void {
    this.#write(order)
  }

  async status(): Promise<MeshStatus> {
    return (await this.#ask()).status
  }

  async cache(): Promise<string | undefined> {
    return (await this.#ask()).cache
  }

  async peer({ entry }: LabNode): Promise<PeerStatus> {
    const found = (await this.status()).peers.find(({ id }) => id === entry.id)
    if (found === undefined) throw new Error('no such peer')
    return found
  }

  /** As `kill -9`: WireGuard stays. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  async stop(options: { readonly keepInterface: boolean } = { keepInterface: false }): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    this.order({ type: 'stop', ...options })
    await ended
  }

  #ask(): Promise<Extract<Said, { type: 'status' }>> {
    return new Promise((resolve) => {
      this.#statuses.push(resolve)
      this.order({ type: 'status' })
    })
  }

  #write(line: unknown): void {
    this.#process?.stdin?.write(`${JSON.stringify(line)}\n`)
  }
}

/** The gateway's part: each node is told of all others, and signals go where they are addressed, at once. */
export class LabFleet {
  readonly nodes: readonly LabNode[]
  #seq = 0
  /** Whether signals are carried. */
  up = true

  constructor(nodes: readonly LabNode[]) {
    this.nodes = nodes
    for (const from of nodes)
      from.onSignals = (signals) => {
        if (!this.up) return
        for (const { to, sealed } of signals)
          this.#find(to)?.order({ type: 'signal', from: from.entry.id, sealed })
      }
  }

  /** Each hears of the others. */
  connect(nodes: readonly LabNode[] = this.nodes): void {
    const to = ++this.#seq
    for (const node of nodes) {
      const put = this.nodes.filter((other) => other !== node).map(({ entry }) => entry)
      node.order({ type: 'connect' })
      node.order({ type: 'changes', changes: { epoch: 'lab', to, put } })
    }
  }

  /** As if they had never heard of each other. */
  reset(): void {
    const to = ++this.#seq
    for (const node of this.nodes) node.order({ type: 'changes', changes: { epoch: 'lab', to } })
  }

  #find(id: NodeId): LabNode | undefined {
    return this.nodes.find(({ entry }) => entry.id === id)
  }
}

/** Waits until both see the other by this path. @returns what the first sees. */
export async function awaitPath(
  [a, b]: readonly [LabNode, LabNode],
  path: PeerStatus['path'],
  timeout = 20_000,
): Promise<PeerStatus> {
  return vi.waitFor(
    async () => {
      const [one, two] = await Promise.all([a.peer(b), b.peer(a)])
      if (one.path !== path || two.path !== path)
        throw new Error(`${path} was expected: ${JSON.stringify([one, two])}`)
      return one
    },
    { timeout, interval: 50 },
  )
}
