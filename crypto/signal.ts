/**
 * A signal from one node to another, sealed in HPKE's auth mode: the gateway that carries it can neither read it nor make one up, and it
 * cannot be sent on to a third node.
 */
import * as z from 'zod'
import { Endpoint, type FleetId, type NodeId, type SealingKey, WireGuardKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { fromBase64Url, fromUtf8, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { hpkeOpen, hpkeSeal, type importSealingKey } from './hpke.ts'

type PrivateKey = Awaited<ReturnType<typeof importSealingKey>>

/** When it was said, in Unix ms: lets a late one be told from a new one of its kind. */
const at = z.int()

/** Eight addresses of its own and three seen from outside, all of them IPv6, are 900 of the bytes a signal may have. */
export const MAX_OWN_ENDPOINTS = 8
export const MAX_MAPPED_ENDPOINTS = 3

/**
 * What a node's NAT does with its source port: there is none, it keeps one mapping for all destinations (`easy`), or it makes one for each
 * (`hard`), which nobody can be told of in advance.
 */
export const Nat = z.enum(['none', 'easy', 'hard', 'unknown'])
export type Nat = z.infer<typeof Nat>

/** Where a node can be reached, and whether it asks for the same in return. */
export const EndpointsSignal = z.strictObject({
  kind: z.literal('endpoints'),
  /** Of its interfaces, or as its owner says. */
  endpoints: z.array(Endpoint).max(MAX_OWN_ENDPOINTS),
  /** As seen from outside: they hold for whom its NAT lets through. */
  mapped: z.array(Endpoint).max(MAX_MAPPED_ENDPOINTS),
  nat: Nat,
  /** Whether it answers probes. */
  probes: z.boolean(),
  reply: z.boolean(),
  at,
})
export type EndpointsSignal = z.infer<typeof EndpointsSignal>

/**
 * The change to another WireGuard key, which the map has announced. The node that changes asks its peers to `prepare`; a peer that knows the key
 * is `ready`; the node has `swapped`; the peer has `moved`.
 */
const KeySignal = z.strictObject({
  kind: z.literal('key'),
  step: z.enum(['prepare', 'ready', 'swapped', 'moved']),
  key: WireGuardKey,
  at,
})
export type KeySignal = z.infer<typeof KeySignal>

/** Of 1184 and 1088 bytes (FIPS 203, table 3) in base64url. */
const EncapsulationKey = z.string().regex(/^[A-Za-z0-9_-]{1579}$/)
const Ciphertext = z.string().regex(/^[A-Za-z0-9_-]{1451}$/)
const Tag = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const psk = z.literal('psk')

/**
 * A pre-shared key for WireGuard between two nodes (pair-psk.ts). The one with the smaller id makes the offer, and may be asked for it. The tags
 * show that both have the same key before either gives it to its interface: at `confirm` the one that answered, at `done` the other.
 */
const PskSignal = z.discriminatedUnion('step', [
  z.strictObject({ kind: psk, step: z.literal('ask'), at }),
  z.strictObject({ kind: psk, step: z.literal('offer'), key: EncapsulationKey, at }),
  z.strictObject({ kind: psk, step: z.literal('answer'), ciphertext: Ciphertext, tag: Tag, at }),
  z.strictObject({ kind: psk, step: z.literal('confirm'), tag: Tag, at }),
  z.strictObject({ kind: psk, step: z.literal('done'), tag: Tag, at }),
  /** This node uses none. */
  z.strictObject({ kind: psk, step: z.literal('refuse'), at }),
])
export type PskSignal = z.infer<typeof PskSignal>

export const Signal = z.discriminatedUnion('kind', [EndpointsSignal, KeySignal, PskSignal])
export type Signal = z.infer<typeof Signal>

/** Of a signal, what its sender decides. */
export type SignalContent = Signal extends infer S ? (S extends Signal ? Omit<S, 'at'> : never) : never

interface Route {
  readonly fleet: FleetId
  readonly from: NodeId
  readonly to: NodeId
}

export const sealSignal = async (
  to: SealingKey,
  signal: Signal,
  route: Route,
  sender: PrivateKey,
): Promise<string> => toBase64Url(await hpkeSeal(to, utf8(JSON.stringify(signal)), context(route), sender))

export async function openSignal(
  key: PrivateKey,
  sealed: string,
  route: Route,
  sender: SealingKey,
): Promise<Result<Signal, 'corrupt'>> {
  const box = fromBase64Url(sealed)
  if (box === undefined) return err('corrupt')
  const opened = await hpkeOpen(key, box, context(route), sender)
  if (!opened.ok) return opened
  try {
    const signal = Signal.safeParse(JSON.parse(fromUtf8(opened.value.expose())))
    return signal.success ? ok(signal.data) : err('corrupt')
  } catch {
    return err('corrupt')
  }
}

const INFO = utf8(DOMAIN.signal)

const context = ({ fleet, from, to }: Route) => ({
  info: INFO,
  aad: lengthPrefixed(fleet, from, to),
})
