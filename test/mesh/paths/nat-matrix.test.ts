/** Two searches on both sides of simulated NATs of every kind: a direct path is found wherever there is one, quickly, and nowhere else. */
import { describe, expect, test } from 'vitest'
import { PeerPath } from '../../../agent/mesh/paths/peer-path.ts'
import { Endpoint } from '../../../protocol/ids.ts'

/** By what a packet from outside is let in: anything, the address that was written to, address and port. */
const KINDS = ['public', 'full-cone', 'address-restricted', 'port-restricted', 'symmetric'] as const
type Kind = (typeof KINDS)[number]

const ONE_WAY_MS = 40
/** Both hear of each other by the gateway, but not at the same moment. */
const SKEW_MS = 60

interface Packet {
  readonly from: Endpoint
  readonly to: Endpoint
  readonly kind: 'ping' | 'pong'
  readonly n: number
}

class Node {
  readonly path = new PeerPath()
  readonly #kind: Kind
  readonly #address: string
  readonly #written = new Set<string>()
  readonly #mappings = new Map<string, number>()
  readonly waiting = new Map<number, { readonly to: Endpoint; readonly at: number }>()
  foundAt: number | undefined

  constructor(kind: Kind, address: string) {
    this.#kind = kind
    this.#address = address
  }

  /** What a STUN server would say; of a symmetric one only the address is of use. */
  get told(): Endpoint[] {
    return [Endpoint.parse(`${this.#address}:${this.#kind === 'symmetric' ? 9 : 51_820}`)]
  }

  /** The source that the others see. */
  leave(to: Endpoint): Endpoint {
    this.#written.add(to).add(to.replace(/:.*/, ''))
    if (this.#kind !== 'symmetric') return Endpoint.parse(`${this.#address}:51820`)
    const port = this.#mappings.get(to) ?? 20_000 + this.#mappings.size
    this.#mappings.set(to, port)
    return Endpoint.parse(`${this.#address}:${port}`)
  }

  accepts({ from, to }: Packet): boolean {
    if (!to.startsWith(`${this.#address}:`)) return false
    if (this.#kind === 'public' || this.#kind === 'full-cone') return to.endsWith(':51820')
    if (this.#kind === 'address-restricted')
      return to.endsWith(':51820') && this.#written.has(from.replace(/:.*/, ''))
    if (this.#kind === 'port-restricted') return to.endsWith(':51820') && this.#written.has(from)
    return this.#mappings.get(from) === Number(to.replace(/.*:/, ''))
  }
}

function meet(one: Kind, two: Kind) {
  const [a, b] = [new Node(one, '203.0.113.1'), new Node(two, '203.0.113.2')]
  const flying: { readonly at: number; readonly packet: Packet }[] = []
  let n = 0
  const send = (node: Node, to: Endpoint, kind: Packet['kind'], now: number, answered = n++) => {
    if (kind === 'ping') node.waiting.set(answered, { to, at: now })
    flying.push({ at: now + ONE_WAY_MS, packet: { from: node.leave(to), to, kind, n: answered } })
  }
  const far = (endpoint: Endpoint) => ({ endpoint, nearness: 'far' as const })
  for (let now = 0; now < 4_000; now++) {
    if (now === 0) a.path.offer(b.told.map(far), now)
    if (now === SKEW_MS) b.path.offer(a.told.map(far), now)
    for (const { packet } of flying.filter(({ at }) => at === now)) {
      const node = [a, b].find((each) => each.accepts(packet))
      if (node === undefined) continue
      if (packet.kind === 'ping') {
        send(node, packet.from, 'pong', now, packet.n)
        node.path.heardPing(far(packet.from), now)
      } else {
        const sent = node.waiting.get(packet.n)
        if (sent?.to === packet.from) node.path.heardPong(packet.from, now - sent.at, now)
      }
    }
    for (const node of [a, b]) {
      for (const to of node.path.due(now)) send(node, to, 'ping', now)
      node.path.decide(now, () => false)
      if (node.path.used !== undefined) node.foundAt ??= now
    }
  }
  return { found: [a.foundAt, b.foundAt], packets: n }
}

const isHard = (one: Kind, two: Kind): boolean =>
  one === 'symmetric' && (two === 'symmetric' || two === 'port-restricted')

describe.each(KINDS)('from %s', (one) => {
  test.each(KINDS)('to %s', (two) => {
    const { found, packets } = meet(one, two)
    if (isHard(one, two) || isHard(two, one)) expect(found).toEqual([undefined, undefined])
    else for (const at of found) expect(at).toBeLessThanOrEqual(500)
    expect(packets).toBeLessThan(80)
  })
})
